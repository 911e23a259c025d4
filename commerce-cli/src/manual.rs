//! `commerce completions` and `commerce man`: drawn from the same definitions as `--help`.

use crate::args::Cli;
use crate::error::CliError;
use crate::output::Output;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man as Page;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Prints the completions of a shell, to be put where it looks for them.
#[derive(clap::Args, Debug)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl Completions {
    pub(crate) fn run(&self, output: Output) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "commerce", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        output.print(&Script { shell: self.shell.to_string(), script }, |body| body.script.clone())
    }
}

/// Prints the manual page, or writes a page for each command.
#[derive(clap::Args, Debug)]
pub(crate) struct Man {
    /// Writes commerce.1 and a page for each command into that directory.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Manual {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
}

impl Man {
    pub(crate) fn run(&self, output: Output) -> Result<(), CliError> {
        let Some(dir) = &self.dir else {
            let page = page().map_err(|error| cannot_write(Path::new("the page"), &error))?;
            return output.print(&Manual { page: Some(page.clone()), dir: None }, |_| page);
        };
        fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| cannot_write(dir, &error))?;
        let dir = dir.display().to_string();
        output.print(&Manual { page: None, dir: Some(dir) }, |_| "the pages are written".to_owned())
    }
}

fn page() -> io::Result<String> {
    let mut page = Vec::new();
    Page::new(Cli::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn cannot_write(what: &Path, error: &io::Error) -> CliError {
    CliError::storage(format!("cannot write {}: {error}", what.display()))
}
