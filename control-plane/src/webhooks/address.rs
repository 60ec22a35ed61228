//! Where messages may go. A tenant chooses the address, so it must not lead into a network that
//! only the control plane reaches: an address that is not public is refused unless the operator
//! allows it. Pure: host names are resolved by `send`, which checks each address here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Longest address.
const MAX_URL_LENGTH: usize = 2_000;

/// A network, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} must be a network such as \"10.0.0.0/8\" or \"fd00::/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().map_err(|_| invalid())?),
            None => (text, u32::MAX),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let max_bits = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits == u32::MAX { max_bits } else { bits };
        let network = Self { address, bits };
        if bits > max_bits {
            return Err(invalid());
        }
        match network.contains_itself() {
            true => Ok(network),
            false => Err(format!("{text:?} has an address with bits beyond the network's; clear them")),
        }
    }
}

impl Network {
    fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                own.to_bits().checked_shr(32 - self.bits) == other.to_bits().checked_shr(32 - self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                own.to_bits().checked_shr(128 - self.bits) == other.to_bits().checked_shr(128 - self.bits)
            }
            _ => false,
        }
    }

    fn contains_itself(self) -> bool {
        match self.address {
            IpAddr::V4(own) => own.to_bits().checked_shl(self.bits).unwrap_or(0) == 0,
            IpAddr::V6(own) => own.to_bits().checked_shl(self.bits).unwrap_or(0) == 0,
        }
    }
}

/// What the operator allows and forbids beside what is public.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// Allowed although they are not public.
    pub allow: Vec<Network>,
    /// Forbidden, whatever else is said.
    pub deny: Vec<Network>,
}

impl Networks {
    /// Whether messages may go there.
    #[must_use]
    pub fn may_reach(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !within(&self.deny) && (within(&self.allow) || is_public(address))
    }
}

/// The address that is meant: an IPv4 address can be written as one of IPv6, or be reached through
/// a gateway under one.
fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            let [.., a, b, c, d] = six.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

/// Whether an address is one of the public Internet: what IANA's registries of special addresses
/// leave (RFC 6890 and later).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => is_public_four(four),
        IpAddr::V6(six) => is_public_six(six),
    }
}

fn is_public_four(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    !matches!(
        (a, b, c, d),
        (0 | 10 | 127, ..)
            | (100, 64..128, ..) // shared by customers of a provider
            | (169, 254, ..) // link-local; metadata services of clouds
            | (172, 16..32, ..)
            | (192, 0, 0 | 2, _)
            | (192, 88, 99, _)
            | (192, 168, ..)
            | (198, 18 | 19, ..)
            | (198, 51, 100, _)
            | (203, 0, 113, _)
            | (168, 63, 129, 16) // a cloud's own services, at a public address
            | (224.., ..)
    )
}

fn is_public_six(address: Ipv6Addr) -> bool {
    // Global unicast, without what lies in it for documentation, tunnels that carry IPv4 addresses,
    // and protocols.
    match address.segments() {
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
        [0x2000..0x4000, ..] => true,
        _ => false,
    }
}

/// An address to which messages can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// All of it.
    pub uri: Uri,
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Takes an address apart. What is wrong with it, for people.
    ///
    /// # Errors
    /// If it is none that messages can be sent to.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be an address such as https://hooks.example.com/rollcall";
        if text.len() > MAX_URL_LENGTH {
            return Err("must have at most 2000 characters");
        }
        if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be an address of ASCII characters, without spaces and without a fragment (#)");
        }
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        if uri.scheme_str() != Some("https") {
            return Err("must begin with https://");
        }
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err("must not have a user name or password");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = match authority.as_str().rsplit_once(':') {
            Some((before, port)) if !before.contains('[') || before.ends_with(']') => port.parse().ok(),
            _ => Some(443),
        };
        match port.filter(|port| *port > 0) {
            Some(port) if !host.is_empty() => Ok(Self { uri, host, port }),
            _ => Err(FORM),
        }
    }

    /// The address that it names, where it does not name a host.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(allow: &[&str], deny: &[&str]) -> Networks {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a network")).collect();
        Networks { allow: all(allow), deny: all(deny) }
    }

    fn may(networks: &Networks, address: &str) -> bool {
        networks.may_reach(address.parse().expect("an address"))
    }

    #[test]
    fn nothing_but_the_public_internet_is_reached() {
        let none = Networks::default();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.1.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!may(&none, address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.1.1",
            "192.169.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "3ffe::1",
        ] {
            assert!(may(&none, address), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_networks_by_name_and_forbids_others_whatever_they_are() {
        let own = networks(&["127.0.0.0/8", "fd00:1::/32", "10.1.2.3"], &["127.9.0.0/16", "1.1.1.0/24"]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd00:1::5", "10.1.2.3", "8.8.8.8"] {
            assert!(may(&own, address), "{address}");
        }
        for address in
            ["127.9.0.1", "::ffff:127.9.0.1", "fd00:2::5", "10.1.2.4", "::1", "1.1.1.1", "192.168.0.1"]
        {
            assert!(!may(&own, address), "{address}");
        }
        let all = networks(&["0.0.0.0/0"], &[]);
        assert!(may(&all, "127.0.0.1") && !may(&all, "::1"), "of the other family nothing is said");
        for text in ["10.0.0.0/33", "10.0.0.1/8", "ten/8", "10.0.0.0/", "fd00::/129", "fd00::1/64", ""] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_taken_apart_or_refused_with_the_reason() {
        let target = Target::parse("https://hooks.example.com/rollcall?tenant=acme").expect("an address");
        assert_eq!((target.host.as_str(), target.port), ("hooks.example.com", 443));
        let target = Target::parse("https://[::1]:8443/x").expect("an address");
        assert_eq!((target.host.as_str(), target.port), ("::1", 8443));
        assert_eq!(target.literal(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(Target::parse("https://[::1]").expect("an address").port, 443);
        for text in [
            "",
            "hooks.example.com",
            "/x",
            "http://hooks.example.com/",
            "ftp://h/",
            "https://",
            "https:///x",
            "https://h:0/",
            "https://h:70000/",
            "https://u@h/",
            "https://u:p@h/",
            "https://h/#x",
            "https://h/ü",
            "https://h/ x",
            "https://h\r\n/",
            &format!("https://h/{}", "x".repeat(2_000)),
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
