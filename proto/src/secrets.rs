//! Attributes that hold secrets: neither a mapping nor a policy can make them leave the premises. The control plane refuses to store
//! a mapping of one, and the router, which does not rely on that, to read it.

const PASSWORDS: &[&str] = &[
    "userPassword",
    "unicodePwd",
    "dBCSPwd",
    "ntPwdHistory",
    "lmPwdHistory",
    "supplementalCredentials",
    "sambaNTPassword",
    "sambaLMPassword",
    "sambaPasswordHistory",
    "krbPrincipalKey",
    "krbMKey",
    "ipaNTHash",
    "pwdHistory",
    "authPassword",
    "ms-Mcs-AdmPwd",
    "msLAPS-Password",
    "msLAPS-EncryptedPassword",
    "msDS-ManagedPassword",
    "orclGuardedPassword",
    "nsslapd-rootpw",
    "olcRootPW",
];

/// Whether an attribute holds a secret; its options (`userPassword;x`) do not matter.
#[must_use]
pub fn is_password_attribute(attribute: &str) -> bool {
    let base = attribute.split(';').next().unwrap_or(attribute).trim();
    PASSWORDS.iter().any(|password| password.eq_ignore_ascii_case(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_attributes_are_known_in_any_case_and_with_options() {
        assert!(is_password_attribute("USERPASSWORD;x-1"));
        assert!(!is_password_attribute("mail"));
    }
}
