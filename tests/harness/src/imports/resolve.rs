//! From a path in the code to the module that defines its last name.

use std::collections::BTreeMap;

use super::source::Module;

/// Longer chains of re-exports are taken for a path that leads to itself.
const MAX_RE_EXPORTS: usize = 16;

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) enum Target<'a> {
    /// A name and the module that defines it.
    Item { module: &'a [String], file: &'a str },
    /// A module itself.
    Module { module: &'a [String], file: &'a str },
}

impl<'a> Target<'a> {
    pub(super) fn module(&self) -> &'a [String] {
        match *self {
            Self::Item { module, .. } | Self::Module { module, .. } => module,
        }
    }
}

/// All modules of a crate by their paths.
pub(super) struct Crate<'a> {
    name: &'a str,
    modules: BTreeMap<&'a [String], &'a Module>,
}

impl<'a> Crate<'a> {
    pub(super) fn new(name: &'a str, modules: &'a [Module]) -> Self {
        Self { name, modules: modules.iter().map(|module| (module.path.as_slice(), module)).collect() }
    }

    /// What this path, written in the module `from`, leads to; none outside of this crate.
    pub(super) fn find(&self, from: &[String], path: &[String]) -> Option<Target<'a>> {
        self.find_within(from, path, MAX_RE_EXPORTS)
    }

    fn find_within(&self, from: &[String], path: &[String], steps: usize) -> Option<Target<'a>> {
        let (first, rest) = path.split_first()?;
        let steps = steps.checked_sub(1)?;
        match first.as_str() {
            own if own == "crate" || own == self.name => self.look_up_or_last(&[], rest, steps),
            "self" => self.look_up_or_last(from, rest, steps),
            "super" => {
                let mut parent = &from[..from.len().checked_sub(1)?];
                let mut rest = rest;
                while let Some(("super", after)) =
                    rest.split_first().map(|(first, after)| (first.as_str(), after))
                {
                    parent = &parent[..parent.len().checked_sub(1)?];
                    rest = after;
                }
                self.look_up_or_last(parent, rest, steps)
            }
            _ => self.look_up(from, path, steps),
        }
    }

    /// A path that is certainly in this crate: a name that is not found is taken for one of the
    /// last module on the way.
    fn look_up_or_last(&self, module: &[String], path: &[String], steps: usize) -> Option<Target<'a>> {
        self.look_up(module, path, steps).or_else(|| {
            let mut last = module.to_vec();
            for name in path {
                last.push(name.clone());
                if !self.modules.contains_key(last.as_slice()) {
                    last.pop();
                    break;
                }
            }
            self.modules
                .get(last.as_slice())
                .map(|module| Target::Item { module: &module.path, file: &module.file })
        })
    }

    /// A path that begins with a name in this module: a child, a definition, or what a `use` brings
    /// in.
    fn look_up(&self, module: &[String], path: &[String], steps: usize) -> Option<Target<'a>> {
        let own = *self.modules.get(module)?;
        let Some((first, rest)) = path.split_first() else {
            return Some(Target::Module { module: &own.path, file: &own.file });
        };
        let child = [module, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(child.as_slice()) {
            return self.look_up_or_last(&child, rest, steps);
        }
        if own.defines.contains(first) {
            return Some(Target::Item { module: &own.path, file: &own.file });
        }
        let mut named = own.uses.iter().filter(|import| import.name.as_ref() == Some(first));
        let through_name = named.find_map(|import| {
            let whole = [&import.path, rest].concat();
            // `use x::x` is of another crate, or of a module that is a child.
            self.find_within(module, &whole, steps)
        });
        through_name.or_else(|| {
            let mut globs = own.uses.iter().filter(|import| import.name.is_none());
            globs.find_map(|import| match self.find_within(module, &import.path, steps)? {
                Target::Module { module, .. } => self.look_up(module, path, steps.checked_sub(1)?),
                Target::Item { .. } => None,
            })
        })
    }
}
