//! What opens the way to a server. Read each time, so that what a person changes counts at once.

use std::fmt;

use tokio_rustls::TlsConnector;

use crate::lifecycle::channel::mail::{Mail, Tls};
use crate::notify::secret::Secret;
use crate::notify::{Conversation, Trouble};
use crate::tls;

/// What opens the way to a server.
pub struct Means {
    /// As whom, and with what; never without TLS.
    pub login: Option<(Box<str>, Secret)>,
    /// Who is believed, where there is TLS.
    pub tls: Option<TlsConnector>,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Means {
    /// Reads them. From then on no secret of them stands in anything that is said.
    pub async fn read(settings: &Mail, conversation: &mut Conversation) -> Result<Means, Trouble> {
        let (login, ca, is_open) = (settings.login.clone(), settings.ca.clone(), settings.tls == Tls::None);
        if is_open && login.is_some() {
            return Err(Trouble::changed("no password goes out without TLS"));
        }
        // Files may be on something that does not answer.
        let read = tokio::task::spawn_blocking(move || -> Result<Means, Trouble> {
            let login = match login {
                Some(login) => {
                    let password = Secret::read(&login.password)
                        .map_err(|error| Trouble::changed(format!("failed to read the password: {error}")))?;
                    Some((login.user, password))
                }
                None => None,
            };
            let connector = (!is_open).then(|| tls::connector(ca.as_deref())).transpose();
            let tls = connector.map_err(|error| Trouble::changed(format!("failed to know whom to trust: {error}")))?;
            Ok(Means { login, tls })
        });
        let means = read.await.map_err(|error| Trouble::later(format!("failed to read what it takes: {error}")))??;
        if let Some((user, password)) = &means.login {
            // The longer one first: blanked in parts it would be there in parts.
            conversation.hide(&Secret::of(&format!("\0{user}\0{}", password.text())));
            conversation.hide(password);
        }
        Ok(means)
    }
}
