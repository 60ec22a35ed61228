//! Circles and upward imports in a graph of imports.

use std::collections::{BTreeMap, BTreeSet};

use super::Imports;

/// Every circle: files that import each other, straight or through others of the circle.
#[must_use]
pub fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reached: BTreeMap<_, _> =
        imports.keys().map(|file| (file.as_str(), reachable(imports, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, reached_by_file) in &reached {
        let circle: BTreeSet<&str> = reached_by_file
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
            .copied()
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().map(|circle| circle.into_iter().map(str::to_owned).collect()).collect()
}

/// Every circle between neighbours: the files and folders that lie in one folder, a folder with all
/// that is below it.
#[must_use]
pub fn folder_circles(imports: &Imports) -> Vec<Vec<String>> {
    let folders: BTreeSet<&str> = imports.keys().flat_map(|file| folders_above(file)).collect();
    folders.into_iter().flat_map(|folder| circles(&neighbours(imports, folder))).collect()
}

/// Every import that runs upward, as `file -> file`.
///
/// `layers` are paths in `src`, the top layer first: `link`, `store/sql`, `config.rs`. The longest
/// path that fits a file is its layer. Within a layer any file may import any other.
#[must_use]
pub fn upward(imports: &Imports, layers: &[Vec<String>]) -> Vec<String> {
    let mut found = Vec::new();
    for (from, to) in imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        if let (Some(own), Some(other)) = (layer_of(from, layers), layer_of(to, layers))
            && other < own
        {
            found.push(format!("{from} -> {to}"));
        }
    }
    found
}

/// The imports without those of a `mod.rs` from its own folder: it may name and assemble its files.
#[must_use]
pub fn without_faces(imports: &Imports) -> Imports {
    let is_own =
        |file: &str, to: &str| file.strip_suffix("mod.rs").is_some_and(|folder| to.starts_with(folder));
    let kept = |file: &String, all: &BTreeSet<String>| {
        (file.clone(), all.iter().filter(|to| !is_own(file, to)).cloned().collect())
    };
    imports.iter().map(|(file, all)| kept(file, all)).collect()
}

/// The files that no layer names.
#[must_use]
pub fn unplaced(imports: &Imports, layers: &[Vec<String>]) -> Vec<String> {
    imports.keys().filter(|file| layer_of(file, layers).is_none()).cloned().collect()
}

fn layer_of(file: &str, layers: &[Vec<String>]) -> Option<usize> {
    let fits = |place: &str| {
        let rest = file.strip_prefix(place.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    };
    let places =
        layers.iter().enumerate().flat_map(|(layer, places)| places.iter().map(move |place| (layer, place)));
    places.filter(|(_, place)| fits(place)).max_by_key(|(_, place)| place.len()).map(|(layer, _)| layer)
}

/// All that this file imports, straight or through others.
fn reachable<'a>(imports: &'a Imports, file: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![file];
    while let Some(file) = open.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// `a/b/c.rs`: the root (empty), `a/` and `a/b/`.
fn folders_above(file: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(file.match_indices('/').map(|(position, _)| &file[..=position]))
}

/// The imports between the files and folders that lie straight in this folder.
fn neighbours(imports: &Imports, folder: &str) -> Imports {
    let neighbour = |file: &str| {
        let rest = file.strip_prefix(folder)?;
        Some(format!("{folder}{}", rest.split_inclusive('/').next().unwrap_or(rest)))
    };
    let mut between = Imports::new();
    for (from, all) in imports {
        let Some(from) = neighbour(from) else { continue };
        let others: Vec<_> = all.iter().filter_map(|to| neighbour(to)).filter(|to| *to != from).collect();
        between.entry(from).or_default().extend(others);
    }
    between
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(arrows: &[(&str, &[&str])]) -> Imports {
        let to = |all: &[&str]| all.iter().map(|&to| to.to_owned()).collect();
        arrows.iter().map(|&(from, all)| (from.to_owned(), to(all))).collect()
    }

    #[test]
    fn circles_are_found_with_all_their_files() {
        let found =
            imports(&[("a.rs", &["b.rs"]), ("b.rs", &["c.rs", "d.rs"]), ("c.rs", &["a.rs"]), ("d.rs", &[])]);
        assert_eq!(circles(&found), [["a.rs", "b.rs", "c.rs"]]);
    }

    #[test]
    fn folders_can_stand_in_a_circle_whose_files_do_not() {
        let found = imports(&[
            ("x/a/one.rs", &["x/b/one.rs"]),
            ("x/b/one.rs", &[]),
            ("x/b/two.rs", &["x/a/two.rs"]),
            ("x/a/two.rs", &[]),
        ]);
        assert_eq!(circles(&found), Vec::<Vec<String>>::new());
        assert_eq!(folder_circles(&found), [["x/a/", "x/b/"]]);
    }

    #[test]
    fn a_mod_rs_may_assemble_its_folder() {
        let found =
            imports(&[("a/mod.rs", &["a/one.rs", "b.rs"]), ("a/one.rs", &["a/mod.rs"]), ("b.rs", &[])]);
        assert_eq!(circles(&found), [["a/mod.rs", "a/one.rs"]]);
        assert_eq!(circles(&without_faces(&found)), Vec::<Vec<String>>::new());
        assert!(without_faces(&found)["a/mod.rs"].contains("b.rs"));
    }

    #[test]
    fn upward_imports_are_told_by_the_longest_layer_that_fits() {
        let found = imports(&[
            ("api/x.rs", &["store/y.rs"]),
            ("store/y.rs", &["store/sql/z.rs"]),
            ("store/sql/z.rs", &["api/x.rs", "store/y.rs"]),
        ]);
        let layers = [vec!["api".to_owned()], vec!["store".to_owned()], vec!["store/sql/".to_owned()]];
        assert_eq!(upward(&found, &layers), ["store/sql/z.rs -> api/x.rs", "store/sql/z.rs -> store/y.rs"]);
        assert_eq!(unplaced(&found, &layers[..1]), ["store/sql/z.rs", "store/y.rs"]);
    }
}
