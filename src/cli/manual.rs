//! The manual, and what shells and editors are told: all of it made of what the program knows of itself.

use clap::CommandFactory;
use clap_complete::generate;

use super::arguments::{Arguments, ManArguments, SchemaWord, Shell};
use super::out::{Exit, Failure, Out};
use crate::config::place::{self, Placing};
use crate::manual::page::{Page, find, pages};
use crate::manual::schema;

/// Prints what a shell needs to complete our commands.
pub fn completions(shell: Shell, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    let mut text = Vec::new();
    let name = "snapkeep";
    match shell {
        Shell::Bash => generate(clap_complete::Shell::Bash, &mut command, name, &mut text),
        Shell::Zsh => generate(clap_complete::Shell::Zsh, &mut command, name, &mut text),
        Shell::Fish => generate(clap_complete::Shell::Fish, &mut command, name, &mut text),
    }
    out.raw(text.trim_ascii_end())?;
    Ok(Exit::Fine)
}

/// Prints a page, lists all of them, or writes them into a directory.
pub fn man(order: ManArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let pages = pages(&Arguments::command());
    if let Some(directory) = order.to {
        for page in &pages {
            let file = directory.join(page.file());
            place::write(&file, page.text.as_bytes(), Placing::Over)
                .map_err(|error| Failure::new(Exit::Failed, format!("failed to write {}: {error}", file.display())))?;
        }
        return Ok(Exit::Fine);
    }
    let Some(wanted) = order.page else { return list(&pages, out) };
    let unknown = || {
        Failure::new(Exit::Usage, format!("there is no page `{wanted}`"))
            .hint("`snapkeep man` lists those that there are")
    };
    let page = find(&pages, &wanted).ok_or_else(unknown)?;
    out.raw(page.text.trim_end().as_bytes())?;
    Ok(Exit::Fine)
}

fn list(pages: &[Page], out: &mut Out<'_>) -> Result<Exit, Failure> {
    let width = pages.iter().map(|page| page.file().len()).max().unwrap_or_default();
    for page in pages {
        out.line(format!("{:width$}  {}", page.file(), page.about))?;
    }
    Ok(Exit::Fine)
}

/// Prints the JSON schema of a file.
pub fn schema(file: SchemaWord, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let text = serde_json::to_string_pretty(&schema::schema(file.file()));
    out.line(text.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?)?;
    Ok(Exit::Fine)
}
