//! A line between this machine and a server that is as far away and as slow as asked, for `scripts/bench-far`:
//! `line SERVER DELAY_MS MBIT_PER_S`. It prints where it listens, and ends when its standard input does.

use plakar_testkit::line::{Line, Shape};
use std::io::Read;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, delay, speed] = arguments.as_slice() else { panic!("line SERVER DELAY_MS MBIT_PER_S") };
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|e| panic!("{text}: {e}"));
    let shape = Shape {
        delay: Duration::from_millis(number(delay)),
        bytes_per_second: number(speed) * 1_000_000 / 8,
    };
    let line = Line::to(server, "127.0.0.1:0", shape).unwrap();
    println!("{}", line.address());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let (there, back) = line.bytes();
    println!("{there} {back}");
}
