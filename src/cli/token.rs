//! Tokens of callers who come over the network. A token goes to standard output and nothing else does, so
//! that it can be sent into a file.

use crate::http::body::{AcknowledgedBody, TokenMadeBody, TokenOrderBody, TokensBody};

use super::arguments::{TokenAddArguments, TokenCommand};
use super::client::{Client, encode};
use super::out::{Exit, Failure, Out, Tone, safe};
use super::single::instant;
use super::table::{Cell, Table};

/// Carries out a command about tokens.
pub fn token(client: &Client, command: TokenCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Add(order) => add(client, order, out),
        TokenCommand::List => list(client, out),
        TokenCommand::Remove { name } => remove(client, &name, out),
    }
}

fn add(client: &Client, order: TokenAddArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let TokenAddArguments { name, role, expires } = order;
    let expires = expires.map(|text| instant("--expires", &text, out)).transpose()?;
    let body = TokenOrderBody { name, role: role.word().to_owned(), expires };
    let body = serde_json::to_vec(&body).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let answer = client.post("/v1/tokens", None, body)?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let TokenMadeBody { token, made } = answer.read()?;
    let until = made.expires.map_or_else(
        || "until it is removed".to_owned(),
        |at| format!("until {} {}", out.times.at(at), out.times.zone()),
    );
    out.line(safe(&token))?;
    out.aside(format!(
        "Token {} lets its bearer in as {} {until}. It is not shown again; put it where nobody else reads it.",
        safe(&made.name),
        safe(&made.role)
    ));
    Ok(Exit::Fine)
}

fn list(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get("/v1/tokens")?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: TokensBody = answer.read()?;
    let (made, used) = (format!("MADE ({})", out.times.zone()), "LAST USED".to_owned());
    let mut table = Table::new(&["NAME", "ROLE", "EXPIRES", &used, &made, "BY"]);
    for token in &body.tokens {
        let expires = match (token.expires, token.expired) {
            (None, _) => Cell::new("never").toned(Tone::Faint),
            (Some(at), false) => Cell::new(out.times.at(at)),
            (Some(at), true) => Cell::new(format!("{}, over", out.times.at(at))).toned(Tone::Bad),
        };
        table.row(vec![
            Cell::new(&token.name),
            Cell::new(&token.role),
            expires,
            token.last_used.map_or_else(|| Cell::new("never").toned(Tone::Faint), |at| Cell::new(out.times.at(at))),
            Cell::new(out.times.at(token.made)),
            Cell::new(&token.made_by),
        ]);
    }
    if table.is_empty() {
        out.line("There are no tokens. `snapkeep token add NAME --role viewer` makes one.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

fn remove(client: &Client, name: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: AcknowledgedBody = client.delete(&format!("/v1/tokens/{}", encode(name)))?.read()?;
    if out.json {
        out.value(&body)?;
    } else {
        out.line(format!("Token {} lets nobody in any more.", safe(name)))?;
    }
    Ok(Exit::Fine)
}
