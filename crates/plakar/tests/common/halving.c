/* Every other read and write that the C library is asked for does half of it, which the kernel may do at any time. The
 * library is loaded before the C library's own functions are looked up. What calls the kernel without the C library is not
 * reached. At the end it tells how many there were, in the file that HALVING_TOLD names. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_ulong calls, halved;

static size_t some(size_t len) {
    if (len < 2 || atomic_fetch_add(&calls, 1) % 2)
        return len;
    atomic_fetch_add(&halved, 1);
    return len / 2;
}

ssize_t read(int fd, void *buf, size_t len) { return syscall(SYS_read, fd, buf, some(len)); }

ssize_t write(int fd, const void *buf, size_t len) { return syscall(SYS_write, fd, buf, some(len)); }

ssize_t pread64(int fd, void *buf, size_t len, off64_t at) { return syscall(SYS_pread64, fd, buf, some(len), at); }

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at) {
    return syscall(SYS_pwrite64, fd, buf, some(len), at);
}

#if defined(__LP64__)
ssize_t pread(int fd, void *buf, size_t len, off_t at) { return pread64(fd, buf, len, at); }

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at) { return pwrite64(fd, buf, len, at); }
#endif

__attribute__((destructor)) static void tell(void) {
    const char *told = getenv("HALVING_TOLD");
    char text[32];
    int fd = told ? open(told, O_WRONLY) : -1;
    if (fd < 0)
        return;
    int len = snprintf(text, sizeof text, "%lu\n", atomic_load(&halved));
    syscall(SYS_write, fd, text, (size_t)len);
    close(fd);
}
