//! All pages, each under its name and section.

use clap::Command;

use super::keys::File;
use super::{commands, formats};

/// A page of the manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// As people look for it, such as `snapkeep-policy`.
    pub name: String,
    /// 5 for files, 8 for commands.
    pub section: u8,
    /// What it is about, in a line.
    pub about: String,
    /// The page, in the language of man(7).
    pub text: String,
}

impl Page {
    /// Returns the name of its file.
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }
}

/// Returns every page, those of commands first, each by name.
pub fn pages(program: &Command) -> Vec<Page> {
    let mut pages = commands::pages(program);
    pages.extend(File::ALL.into_iter().map(formats::page));
    pages.sort_by(|one, other| (other.section, &one.name).cmp(&(one.section, &other.name)));
    pages
}

/// Returns the page that people mean by `policy`, `snapkeep-policy`, `snapkeep-policy.5` or `snapkeep-policy(5)`. Without a
/// section a command comes before a file.
pub fn find<'p>(pages: &'p [Page], wanted: &str) -> Option<&'p Page> {
    let wanted = wanted.trim();
    let (name, section) = match wanted.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        Some((name, section)) => (name, Some(section)),
        None => match wanted.rsplit_once('.') {
            Some((name, section @ ("5" | "8"))) => (name, Some(section)),
            _ => (wanted, None),
        },
    };
    let is_section = |page: &&Page| section.is_none_or(|section| section == page.section.to_string());
    let named = |name: &str| pages.iter().filter(is_section).find(|page| page.name == name);
    let dashed = name.replace(' ', "-");
    named(&dashed).or_else(|| named(&format!("snapkeep-{dashed}")))
}
