//! Enumerations whose numbers are those of the API or of the tables. A number never means something
//! else later.

/// An enumeration with its numbers, and the way back from a number.
macro_rules! stored_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$what:meta])* $variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum $name { $($(#[$what])* $variant = $number),+ }
        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The stable number.
            #[must_use]
            pub fn number(self) -> i16 { self as i16 }
            /// The one of this number.
            #[must_use]
            pub fn from_number(number: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.number() == number)
            }
        }
    };
}

pub(super) use stored_enum;
