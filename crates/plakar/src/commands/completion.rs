//! `plakar completion`.

use crate::args::{self, Completion, Shell};
use crate::complete::{Candidate, candidates};
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::Data;

/// Prints what a shell is to read so that it completes command lines, or answers what that asks.
pub fn run(context: &Context, args: &Completion) -> Result<Code> {
    let mut data = Data::begin()?;
    if !args.of {
        data.bytes(script(args.shell).as_bytes())?;
    } else {
        let words: Vec<_> = args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        // A configuration that is not understood has no names to offer; what is wrong with it other commands tell.
        let names = context.config().map(|config| config.names()).unwrap_or_default();
        for one in candidates(&args::command(), &words, &names) {
            data.line(&line(args.shell, &one))?;
        }
    }
    data.end()?;
    Ok(Code::Done)
}

fn line(shell: Shell, Candidate { word, what }: &Candidate) -> String {
    match shell {
        Shell::Bash => word.clone(),
        Shell::Zsh => format!("{}:{what}", word.replace(':', "\\:")),
        Shell::Fish => format!("{word}\t{what}"),
    }
}

fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

const BASH: &str = r#"# plakar completion bash: to be read by bash, as a file in ~/.local/share/bash-completion/completions/plakar
_plakar() {
    local IFS=$'\n'
    COMPREPLY=($(plakar completion bash -of -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o bashdefault -F _plakar plakar
"#;

const ZSH: &str = r#"#compdef plakar
# plakar completion zsh: a file _plakar in a folder of fpath
_plakar() {
    local -a found
    found=("${(@f)$(plakar completion zsh -of -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${found[1]} ]]; then
        _describe -t plakar plakar found
    else
        _files
    fi
}
if [[ ${funcstack[1]} = _plakar ]]; then
    _plakar "$@"
else
    compdef _plakar plakar
fi
"#;

const FISH: &str = r"# plakar completion fish: a file in ~/.config/fish/completions/plakar.fish
function __plakar_candidates
    set -l words (commandline -opc) (commandline -ct)
    plakar completion fish -of -- $words[2..-1] 2>/dev/null
end
complete -c plakar -a '(__plakar_candidates)'
";
