//! What monitoring reads, as the daemon tells it.

use super::client::Client;
use super::out::{Exit, Failure, Out};

/// Prints it, as it is: it is for programs, and no name that stands in it may have anything that steers a terminal.
pub fn metrics(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get("/metrics")?;
    out.text(&answer.document)?;
    Ok(Exit::Fine)
}
