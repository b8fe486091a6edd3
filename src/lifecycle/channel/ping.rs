//! A server that raises an alarm when it is not told that all is well, as healthchecks does.

use super::server::Server;
use crate::lifecycle::time::Span;
use crate::lifecycle::workflow::Kind;

/// A check at such a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Who is told. The address may hold [`Ping::POLICY`].
    pub server: Server,
    /// How often the daemon says there that it is alive, whatever runs.
    pub heartbeat: Option<Span>,
    /// Whose runs are told of. Never empty.
    pub workflows: Vec<Kind>,
}

impl Ping {
    /// Stands in an address for the name of the policy that is told of.
    pub const POLICY: &'static str = "{{ policy }}";
    /// Stands for it where what is told of is about no policy: such servers take it, and no policy's name begins so.
    pub const NO_POLICY: &'static str = "_snapkeep";
    /// More often nobody needs to know.
    pub const HEARTBEAT_MIN: &'static str = "1m";

    /// Returns an address with a name in place of [`Ping::POLICY`], in the letters that such servers take: lower case,
    /// digits, `-` and `_`; whatever else stands in the name becomes `-`.
    pub fn address_of(url: &str, policy: Option<&str>) -> String {
        let slug: String = policy
            .unwrap_or(Ping::NO_POLICY)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' })
            .collect();
        url.replace(Ping::POLICY, &slug).replace("{{policy}}", &slug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_policy_stands_in_the_address_in_letters_that_it_may_have() {
        let url = "https://hc.example/key/{{ policy }}?create=1";
        let of = |policy| Ping::address_of(url, policy);
        assert_eq!(of(Some("db_1")), "https://hc.example/key/db_1?create=1");
        assert_eq!(of(Some("Web.site/\r\n?")), "https://hc.example/key/web-site----?create=1");
        assert_eq!(of(None), "https://hc.example/key/_snapkeep?create=1");
        assert_eq!(Ping::address_of("https://h/{{policy}}", Some("a")), "https://h/a");
        assert_eq!(Ping::address_of("https://h/x", Some("a")), "https://h/x");
    }
}
