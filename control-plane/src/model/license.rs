//! A tenant's license and its use.

use super::SourceId;
use super::stored_enum::stored_enum;

/// Limit and use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Most users that may be enabled.
    pub limit: i64,
    /// Users that are enabled.
    pub used: i64,
    /// The same by source, by id.
    pub by_source: Vec<SourceUse>,
    /// How much is taken, as was last told.
    pub level: LicenseLevel,
}

/// Use of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUse {
    /// The source.
    pub source: SourceId,
    /// Its enabled users.
    pub used: i64,
}

stored_enum! {
    /// How much of a license is taken. The numbers are those of the API and of the tables.
    pub enum LicenseLevel {
        /// Not so much that anyone must know.
        Normal = 1,
        /// More than 85 percent.
        Above85 = 2,
        /// More than 95 percent.
        Above95 = 3,
    }
}

impl LicenseLevel {
    /// The next level, where this one was told last. A level is entered above its percentage and
    /// left 5 percent below it, so that a use which moves around a border is told once.
    #[must_use]
    pub fn next(self, used: i64, limit: i64) -> Self {
        let above = |percent: i64| i128::from(used) * 100 > i128::from(limit) * i128::from(percent);
        let not_below = |percent: i64| i128::from(used) * 100 >= i128::from(limit) * i128::from(percent);
        // Nobody is above anything where nobody is.
        let stays = |level: Self, percent: i64| self >= level && used > 0 && not_below(percent);
        if above(95) || stays(Self::Above95, 90) {
            Self::Above95
        } else if above(85) || stays(Self::Above85, 80) {
            Self::Above85
        } else {
            Self::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(limit: i64, uses: &[i64]) -> Vec<LicenseLevel> {
        let mut level = LicenseLevel::Normal;
        let mut told = Vec::new();
        for used in uses {
            let next = level.next(*used, limit);
            if next != level {
                told.push(next);
            }
            level = next;
        }
        told
    }

    #[test]
    fn a_level_begins_above_its_percentage_and_ends_five_percent_below() {
        use LicenseLevel::{Above85, Above95, Normal};
        assert_eq!(told(100, &[85]), []);
        assert_eq!(told(100, &[86]), [Above85]);
        assert_eq!(told(100, &[86, 80]), [Above85]);
        assert_eq!(told(100, &[86, 79]), [Above85, Normal]);
        assert_eq!(told(100, &[95, 96, 90, 96, 89]), [Above85, Above95, Above85]);
        assert_eq!(told(100, &[100, 0]), [Above95, Normal]);
        assert_eq!(told(0, &[0]), [], "a license of nobody is not used up by nobody");
        assert_eq!(told(0, &[1, 0]), [Above95, Normal], "one that was lowered below its use is");
        assert_eq!(told(i64::MAX, &[i64::MAX]), [Above95]);
    }

    proptest! {
        #[test]
        fn a_use_that_moves_within_five_percent_is_told_once_at_most(
            limit in 20..100_000i64,
            moves in prop::collection::vec(prop_oneof![Just(0), Just(1_000), 0..=1_000i64], 1..200),
            border in prop::sample::select(vec![85i64, 95]),
        ) {
            // Anywhere from five percent below the border up to a little above it.
            let low = (limit * (border - 5) + 99) / 100;
            let high = (limit * border / 100 + 1).min(limit);
            let uses: Vec<_> = moves.iter().map(|share| low + (high - low) * share / 1_000).collect();
            let told: Vec<_> = told(limit, &uses);
            prop_assert!(told.len() <= 2, "{told:?}");
            prop_assert!(told.is_sorted(), "never downwards: {told:?}");
        }

        #[test]
        fn whoever_is_above_a_border_was_told(limit in 0..1_000i64, uses in prop::collection::vec(0..1_200i64, 1..50)) {
            let mut level = LicenseLevel::Normal;
            for used in uses {
                level = level.next(used, limit);
                prop_assert!(used * 100 <= limit * 95 || level == LicenseLevel::Above95);
                prop_assert!(used * 100 <= limit * 85 || level >= LicenseLevel::Above85);
                prop_assert!(used > 0 && used * 100 >= limit * 80 || level == LicenseLevel::Normal);
                prop_assert!(used * 100 >= limit * 90 || level < LicenseLevel::Above95);
            }
        }
    }
}
