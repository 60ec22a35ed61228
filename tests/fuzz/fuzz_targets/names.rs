//! Distinguished names: no text makes them panic, a name equals its own normal form, and what is
//! below a name is within it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_agent::directory::{is_named, is_within, normalize};

fuzz_target!(|texts: (&str, &str, &str)| {
    let (dn, base, attribute) = texts;
    let _ = is_named(dn, attribute, base);
    let below = format!("{dn},{base}");
    if let (Some(own), Some(names)) = (normalize(dn), normalize(base)) {
        assert!(is_within(dn, dn));
        assert_eq!(is_within(dn, base), own.ends_with(&names));
        if !own.is_empty() && !names.is_empty() {
            assert!(is_within(&below, base), "{below:?} within {base:?}");
        }
        // What separates names is escaped again, so that they come apart at the same places.
        let spelled = own.iter().map(|rdn| rdn.replace(',', "\\,")).collect::<Vec<_>>().join(",");
        assert_eq!(normalize(&spelled), Some(own), "{dn:?} as {spelled:?}");
    }
});
