//! Attributes that hold secrets: neither a mapping nor a policy can make them leave the premises.
//! The control plane refuses to store a mapping of one, and the router, which does not rely on
//! that, to read it.

/// By name, and by number: an attribute may be asked for by either.
const PASSWORDS: &[&str] = &[
    // userPassword, authPassword, userPKCS12
    "2.5.4.35",
    "1.3.6.1.4.1.4203.1.3.4",
    "userPKCS12",
    "2.16.840.1.113730.3.1.216",
    // Active Directory: unicodePwd, dBCSPwd, ntPwdHistory, lmPwdHistory, supplementalCredentials,
    // msDS-ManagedPassword
    "1.2.840.113556.1.4.90",
    "1.2.840.113556.1.4.55",
    "ntPwdHistory",
    "1.2.840.113556.1.4.94",
    "lmPwdHistory",
    "1.2.840.113556.1.4.160",
    "supplementalCredentials",
    "1.2.840.113556.1.4.125",
    "1.2.840.113556.1.4.2196",
    "trustAuthIncoming",
    "trustAuthOutgoing",
    "initialAuthIncoming",
    "initialAuthOutgoing",
    "currentValue",
    "priorValue",
    "msPKIAccountCredentials",
    "msPKIDPAPIMasterKeys",
    "msFVE-KeyPackage",
    "msDS-ManagedPasswordId",
    "msDS-ManagedPasswordPreviousId",
    "msLAPS-EncryptedPasswordHistory",
    "msLAPS-EncryptedDSRMPasswordHistory",
    // Samba: sambaLMPassword, sambaNTPassword, sambaPasswordHistory, and the first two before
    // version 3
    "1.3.6.1.4.1.7165.2.1.24",
    "1.3.6.1.4.1.7165.2.1.25",
    "sambaPasswordHistory",
    "1.3.6.1.4.1.7165.2.1.54",
    "1.3.6.1.4.1.7165.2.1.1",
    "1.3.6.1.4.1.7165.2.1.2",
    // Kerberos: krbPrincipalKey, krbMKey
    "krbPrincipalKey",
    "2.16.840.1.113719.1.301.4.39.1",
    "krbMKey",
    "2.16.840.1.113719.1.301.4.24.1",
    "ipaNTHash",
    "ipatokenOTPkey",
    "pwdHistory",
    "1.3.6.1.4.1.42.2.27.8.1.20",
    "passwordHistory",
    "nsslapd-rootpw",
    "nsDS5ReplicaCredentials",
    "nsMultiplexorCredentials",
    "olcRootPW",
    "1.3.6.1.4.1.4203.1.12.2.3.2.0.9",
];

/// How names of secrets end. `pwdLastSet` and `badPwdCount` are none.
const ENDINGS: &[&str] = &["password", "passwd", "pwd", "pwdhash", "passwordhash", "secret", "privatekey"];

/// Whether an attribute holds a secret; its options (`userPassword;x`) do not matter.
#[must_use]
pub fn is_password_attribute(attribute: &str) -> bool {
    let base = attribute.split(';').next().unwrap_or(attribute).trim().to_ascii_lowercase();
    // LDAPv2 wrote numbers so.
    let base = base.strip_prefix("oid.").unwrap_or(&base);
    PASSWORDS.iter().any(|password| password.eq_ignore_ascii_case(base))
        || ENDINGS.iter().any(|ending| base.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_name_and_number_in_any_case_and_with_options() {
        for secret in [
            "userPassword",
            "USERPASSWORD;x-1",
            " userpassword ",
            "2.5.4.35",
            "OID.2.5.4.35;binary",
            "unicodePwd",
            "dBCSPwd",
            "ms-Mcs-AdmPwd",
            "msLAPS-Password",
            "msLAPS-EncryptedPassword",
            "msDS-ManagedPassword",
            "ntPwdHash",
            "sambaNTPassword",
            "authPassword",
            "orclGuardedPassword",
            "olcRootPW",
        ] {
            assert!(is_password_attribute(secret), "{secret}");
        }
    }

    #[test]
    fn what_only_speaks_of_passwords_is_no_secret() {
        for attribute in
            ["mail", "pwdLastSet", "badPwdCount", "pwdAccountLockedTime", "passwordExpirationTime", "2.5.4.3"]
        {
            assert!(!is_password_attribute(attribute), "{attribute}");
        }
    }
}
