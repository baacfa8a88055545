//! Holds a crate to its floors: a file imports from its own floor and those below, and no files import
//! each other in a circle.
//!
//! The sources are read as text, tests inside them included. What counts as an import is a path that
//! leads to another file of the crate, in a `use` or in the code; it leads to the file that defines the
//! item, through whatever re-exports. `mod child;` is no import, nor is the re-export of something below
//! a `mod.rs` (or `lib.rs`) by that file, unless its own code uses the name too: a folder may show what
//! it holds. Two things are not seen: a macro's `$crate`, and methods, which need no import. So an
//! `impl` belongs on a floor above all who call it, and that is for the reader to watch.

mod paths;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use paths::{Source, Written, read};

/// A floor and its files or folders, as paths below `src`; of several that match, the longest counts.
pub type Floor<'a> = (&'a str, &'a [&'a str]);

/// Fails, naming every import from above and every circle, unless the crate in `folder` keeps to
/// `floors`, which are given from the ground up.
pub fn check(folder: &Path, floors: &[Floor]) -> Result<(), String> {
    let mut files = BTreeMap::new();
    collect(&folder.join("src"), &folder.join("src"), &mut files);
    let files = files.into_iter().map(|(name, text)| (name, read(&text)));
    Crate::new(files.collect()).check(floors)
}

fn collect(src: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(src, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(src).unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            files.insert(name.replace('\\', "/"), text);
        }
    }
}

/// The files of a crate by their path below `src`, and the modules they are.
struct Crate {
    files: BTreeMap<String, Source>,
    /// Module path (`layers::conv`; empty for the root) → file.
    modules: BTreeMap<Vec<String>, String>,
}

/// Names are looked for behind so many globs and re-exports, which may lead back to where they began.
const GLOBS: usize = 16;

/// From file to file, with the path that leads there.
type Imports = BTreeMap<(String, String), String>;

impl Crate {
    fn new(files: BTreeMap<String, Source>) -> Self {
        let mut modules = BTreeMap::new();
        let mut open = vec![(Vec::new(), "lib.rs".to_owned())];
        while let Some((module, file)) = open.pop() {
            let folder = match file.as_str() {
                "lib.rs" => PathBuf::new(),
                other => match other.strip_suffix("/mod.rs") {
                    Some(folder) => PathBuf::from(folder),
                    None => PathBuf::from(other.trim_end_matches(".rs")),
                },
            };
            for child in &files[&file].children {
                let names = [format!("{child}.rs"), format!("{child}/mod.rs")];
                let names =
                    names.map(|name| folder.join(name).to_str().unwrap().replace('\\', "/"));
                let found = names.iter().find(|name| files.contains_key(*name));
                let found = found.unwrap_or_else(|| panic!("{file}: no file for `mod {child};`"));
                let module = [&module[..], std::slice::from_ref(child)].concat();
                open.push((module, found.clone()));
            }
            modules.insert(module, file);
        }
        let orphan = files
            .keys()
            .find(|file| !modules.values().any(|f| f == *file));
        assert_eq!(orphan, None, "a file that no `mod` declares");
        Self { files, modules }
    }

    fn source(&self, module: &[String]) -> &Source {
        &self.files[&self.modules[module]]
    }

    /// The module whose file defines what `segments`, written in `module`, lead to.
    fn resolve(&self, module: &[String], written: &Written, depth: usize) -> Option<Vec<String>> {
        let mut at = module.to_vec();
        let mut inline = written.inline;
        let mut rest = &written.segments[..];
        let first = rest.first()?.as_str();
        if first == "crate" {
            (at, inline, rest) = (Vec::new(), 0, &rest[1..]);
        } else if first == "self" {
            rest = &rest[1..];
        } else if first != "super" && !self.knows(&at, first, depth) {
            return None; // another crate, or something of the file's own
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            // Inline modules are their file's.
            match inline {
                0 => drop(at.pop()?),
                _ => inline -= 1,
            }
            rest = &rest[1..];
        }
        self.descend(at, rest, depth)
    }

    fn descend(&self, mut at: Vec<String>, rest: &[String], depth: usize) -> Option<Vec<String>> {
        for (i, segment) in rest.iter().enumerate() {
            let child = [&at[..], std::slice::from_ref(segment)].concat();
            if self.modules.contains_key(&child) {
                at = child;
                continue;
            }
            // A name that the module has from elsewhere, or by a glob; else an item of its own.
            let via = self.imported(&at, segment, depth);
            return match via {
                Some(Some(target)) if self.is_module(&at, segment, depth) => {
                    self.descend(target, &rest[i + 1..], depth + 1)
                }
                Some(target) => target,
                None => Some(at),
            };
        }
        Some(at)
    }

    /// Where a `use` of the module takes `name` from, if one does: `None` inside is another crate.
    fn imported(&self, module: &[String], name: &str, depth: usize) -> Option<Option<Vec<String>>> {
        if depth > GLOBS {
            return None;
        }
        let source = self.source(module);
        let mut uses = source.paths.iter().filter(|path| path.inline == 0);
        if let Some(path) = uses
            .clone()
            .find(|path| path.alias.as_deref() == Some(name))
        {
            // `use super::name` or the like, not the path's own first segment again.
            let own = path.segments.len() == 1 && path.segments[0] == name;
            return (!own).then(|| self.resolve(module, path, depth + 1));
        }
        if source.items.contains(name) {
            return None;
        }
        uses.find_map(|path| {
            let from = path.segments.strip_suffix(&["*".to_owned()][..])?;
            let known = ["crate", "self", "super"].contains(&from.first()?.as_str());
            if !known && !self.names(module, &from[0]) {
                return None; // another crate's
            }
            let from = Written {
                segments: from.to_vec(),
                ..path.clone()
            };
            let target = self.resolve(module, &from, depth + 1)?;
            let has = target != module && self.knows_or_defines(&target, name, depth + 1);
            has.then(|| self.descend(target, &[name.to_owned()], depth + 1))
        })
    }

    /// Whether a name that is imported is a module, not an item in one.
    fn is_module(&self, module: &[String], name: &str, depth: usize) -> bool {
        let target = self.imported(module, name, depth).flatten();
        target.is_some_and(|target| target.last().is_some_and(|last| last == name))
    }

    /// Whether the module has a child of this name, or imports it by name.
    fn names(&self, module: &[String], name: &str) -> bool {
        let child = [module, &[name.to_owned()]].concat();
        let mut uses = self
            .source(module)
            .paths
            .iter()
            .filter(|path| path.inline == 0);
        let single = |path: &Written| path.segments.len() == 1;
        self.modules.contains_key(&child)
            || uses.any(|path| path.alias.as_deref() == Some(name) && !single(path))
    }

    fn knows(&self, module: &[String], name: &str, depth: usize) -> bool {
        let child = [module, &[name.to_owned()]].concat();
        self.modules.contains_key(&child) || self.imported(module, name, depth).flatten().is_some()
    }

    fn knows_or_defines(&self, module: &[String], name: &str, depth: usize) -> bool {
        self.source(module).items.contains(name) || self.knows(module, name, depth)
    }

    /// Every import of one file from another.
    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, file) in &self.modules {
            let source = &self.files[file];
            for path in &source.paths {
                let Some(target) = self.resolve(module, &without_glob(path), 0) else {
                    continue;
                };
                let shows = path.public && target.starts_with(module) && target != *module;
                let uses = path
                    .alias
                    .as_ref()
                    .is_some_and(|name| source.used.contains(name));
                let to = &self.modules[&target];
                if to != file && (!shows || uses) {
                    let written = path.segments.join("::");
                    imports.entry((file.clone(), to.clone())).or_insert(written);
                }
            }
        }
        imports
    }

    fn check(&self, floors: &[Floor]) -> Result<(), String> {
        let mut problems = Vec::new();
        for file in self.files.keys() {
            if floor(floors, file).is_none() {
                problems.push(format!("src/{file} is on no floor"));
            }
        }
        let imports = self.imports();
        for ((from, to), path) in &imports {
            let (Some(low), Some(high)) = (floor(floors, from), floor(floors, to)) else {
                continue;
            };
            if high > low {
                problems.push(format!(
                    "src/{from} ({}) imports `{path}` from src/{to} ({}), a floor above",
                    floors[low].0, floors[high].0
                ));
            }
        }
        problems.extend(circles(&imports));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    }
}

fn without_glob(path: &Written) -> Written {
    let mut path = path.clone();
    if path.segments.last().is_some_and(|last| last == "*") {
        path.segments.pop();
    }
    path
}

fn floor(floors: &[Floor], file: &str) -> Option<usize> {
    let names = floors.iter().enumerate();
    let names = names.flat_map(|(floor, (_, names))| names.iter().map(move |name| (floor, *name)));
    let holds = |name: &str| {
        let rest = file.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || name.ends_with('/'))
    };
    let found = names.filter(|(_, name)| holds(name));
    found
        .max_by_key(|(_, name)| name.len())
        .map(|(floor, _)| floor)
}

/// One circle for each group of files that reach each other: the shortest through its first file.
fn circles(imports: &Imports) -> Vec<String> {
    let mut problems = Vec::new();
    let mut reported = BTreeSet::new();
    let files: BTreeSet<&str> = imports.keys().map(|(from, _)| from.as_str()).collect();
    for start in files {
        if reported.contains(start) {
            continue;
        }
        if let Some(way) = way_back(imports, start) {
            reported.extend(way.iter().copied());
            let mut text = format!("a circle: src/{start}");
            for (from, to) in way.iter().zip(way.iter().skip(1).chain([&start])) {
                let path = &imports[&((*from).to_owned(), (*to).to_owned())];
                text += &format!("\n  imports `{path}` from src/{to}");
            }
            problems.push(text);
        }
    }
    problems
}

/// The files on the shortest way from `start` back to it.
fn way_back<'a>(imports: &'a Imports, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = *way.last()?;
            let next = imports.keys().filter(|(from, _)| from == last);
            for (_, to) in next {
                if to == start {
                    return Some(way);
                }
                if seen.insert(to.as_str()) {
                    longer.push([&way[..], &[to.as_str()]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOORS: [Floor; 2] = [("ground", &["low.rs"]), ("top", &["high", "lib.rs"])];

    fn checked(files: &[(&str, &str)]) -> Result<(), String> {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), read(text)));
        Crate::new(files.collect()).check(&FLOORS)
    }

    /// A crate with `low.rs` and a folder `high`, which shows `Thing` of its child.
    fn small(low: &str, high: &str, child: &str) -> Result<(), String> {
        checked(&[
            ("lib.rs", "mod low; mod high; pub use high::Thing;"),
            ("low.rs", low),
            ("high/mod.rs", high),
            ("high/child.rs", child),
        ])
    }

    const HIGH: &str = "mod child; pub(crate) use child::Thing;";
    const CHILD: &str = "use crate::low::Low; pub struct Thing(Low);";

    #[test]
    fn imports_from_below_and_shown_children_are_well() {
        assert_eq!(small("pub struct Low;", HIGH, CHILD), Ok(()));
        let tested = "pub struct Low; mod tests { use super::*; fn t(_: super::Low) {} }";
        assert_eq!(small(tested, HIGH, CHILD), Ok(()));
        let written =
            "// crate::high::Thing\nconst A: &str = \"crate::high::Thing\"; pub struct Low;";
        assert_eq!(small(written, HIGH, CHILD), Ok(()));
    }

    #[test]
    fn an_import_from_above_is_named_wherever_it_is_written() {
        let ways = [
            "use crate::high::Thing; pub struct Low;",
            "use crate::{high::{Thing as Other}}; pub struct Low;",
            "pub struct Low; fn f(_: &crate::high::Thing) {}",
            "pub struct Low; fn f(_: &super::Thing) {}",
            "pub struct Low; mod tests { use crate::Thing; }",
            "use crate::high; pub struct Low; fn f(_: high::Thing) {}",
        ];
        for low in ways {
            let problem = small(low, HIGH, "pub struct Thing;").unwrap_err();
            let named = problem.starts_with("src/low.rs (ground) imports `");
            assert!(named && problem.contains("high"), "{low}: {problem}");
        }
        // Not from the file that shows it, but from the one that defines it.
        let problem = small(ways[0], HIGH, "pub struct Thing;").unwrap_err();
        assert!(problem.contains("src/high/child.rs"), "{problem}");
    }

    #[test]
    fn a_name_is_followed_through_globs() {
        let high = "mod child; pub(crate) use child::*;";
        let ways = [
            "use std::fmt::*; use crate::high::*; pub struct Low(Thing); fn f(_: super::Thing) {}",
            "use std::fmt::*; pub struct Low; fn f(_: crate::high::Thing) {}",
        ];
        for low in ways {
            let problem = small(low, high, "use super::*; pub struct Thing;").unwrap_err();
            assert!(
                problem.contains("from src/high/child.rs"),
                "{low}: {problem}"
            );
        }
        assert_eq!(small("pub struct Low;", high, CHILD), Ok(()));
    }

    #[test]
    fn a_circle_is_named_edge_by_edge() {
        let high = "mod child; pub(crate) use child::Thing; pub struct Of(Thing);";
        let child = "use super::Of; pub struct Thing(Of);";
        let problem = small("", high, child).unwrap_err();
        let expected = "a circle: src/high/child.rs\n  imports `super::Of` from src/high/mod.rs\n  \
                        imports `child::Thing` from src/high/child.rs";
        assert_eq!(problem, expected);
        // The folder may show its child as long as it does not use it itself.
        let high = "mod child; pub(crate) use child::Thing; pub struct Of;";
        assert_eq!(small("", high, child), Ok(()));
    }

    #[test]
    fn a_file_without_a_floor_is_named() {
        let files = [("lib.rs", "mod attic;"), ("attic.rs", "")];
        assert_eq!(checked(&files).unwrap_err(), "src/attic.rs is on no floor");
    }
}
