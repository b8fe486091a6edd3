//! Bytes as people read them.

use std::fmt::Write;

/// Returns bytes as hexadecimal digits, in lower case, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A text takes whatever is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_two_digits() {
        assert_eq!(hex(&[0, 7, 16, 171, 255]), "000710abff");
        assert_eq!(hex(&[]), "");
    }
}
