//! `commerce completions` and `commerce man`, generated from the same definitions as `--help`.

use crate::error::CliError;
use crate::output::Output;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
pub(crate) struct CompletionsCommand {
    /// Shell to print the script for.
    shell: Shell,
}

#[derive(Serialize)]
struct CompletionsReport {
    shell: String,
    script: String,
}

impl CompletionsCommand {
    pub(crate) fn run(&self, mut cli: Command, output: Output) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "commerce", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        output.print(&CompletionsReport { shell: self.shell.to_string(), script }, |body| {
            body.script.clone()
        })
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct ManCommand {
    /// Directory to write commerce.1 and a page for each command to.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct ManReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
}

impl ManCommand {
    pub(crate) fn run(&self, cli: Command, output: Output) -> Result<(), CliError> {
        let Some(dir) = &self.dir else {
            let page = page(cli).map_err(|error| cannot_write(Path::new("the page"), &error))?;
            return output.print(&ManReport { page: Some(page.clone()), dir: None }, |_| page);
        };
        fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(cli, dir))
            .map_err(|error| cannot_write(dir, &error))?;
        let dir = dir.display().to_string();
        output
            .print(&ManReport { page: None, dir: Some(dir) }, |_| "manual pages written".to_owned())
    }
}

fn page(cli: Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(cli).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn cannot_write(what: &Path, error: &io::Error) -> CliError {
    CliError::storage(format!("cannot write {}: {error}", what.display()))
}
