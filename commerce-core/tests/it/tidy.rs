//! Checks of the sources themselves: the words of comments, and the imports between the modules of the
//! library.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that a comment does not need: the subject of a sentence is a component or a caller.
const WORDS: [&str; 13] = [
    "tell", "tells", "told", "telling", "whoever", "whom", "whose", "nobody", "somebody",
    "anybody", "anew", "seldom", "mend",
];

/// The same for phrases.
const PHRASES: [&str; 6] =
    [" of late ", " in vain ", " all the same ", " so long as ", " taken up ", " good for "];

/// A doc comment begins with a noun phrase or a verb, not with one of these.
const QUESTIONS: [&str; 9] =
    ["What", "Who", "Whose", "Whom", "How", "Where", "Which", "When", "Whether"];

/// The number of findings that the sources may have. It only falls: lower it with each cleanup.
const MAX_FINDINGS: usize = 53;

/// The floors of the library, from the lowest. A module imports only from floors below its own.
const FLOORS: [&[&str]; 15] = [
    &["clock", "histogram", "id", "money", "sync", "text"],
    &["csv", "limits", "zone"],
    &["model"],
    &["codes"],
    &["error"],
    &["entropy", "idempotency", "relay_stats"],
    &["destination", "digest", "gateway", "password", "sequence", "threads", "version"],
    &["query", "state"],
    &["rule", "store"],
    &["audit", "command", "copy", "export", "report"],
    &["engine"],
    &["shop"],
    &["auth", "refunds", "relay"],
    &["charges"],
    &["background"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all Rust files below a folder, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the folders of the crates.
fn crates() -> Vec<PathBuf> {
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.join("Cargo.toml").exists() && path.join("src").exists()).collect()
}

/// Returns all Rust files of the crates.
fn sources() -> Vec<PathBuf> {
    let folders = crates()
        .into_iter()
        .flat_map(|path| ["src", "tests", "benches", "examples"].map(|folder| path.join(folder)));
    let mut files: Vec<_> = folders.flat_map(|folder| rust_files(&folder)).collect();
    files.sort();
    files
}

/// A comment of consecutive lines.
struct Comment {
    line: usize,
    is_doc: bool,
    text: String,
}

/// Returns the comments of a file, without the code in them.
fn comments(source: &str) -> Vec<Comment> {
    let mut comments: Vec<Comment> = Vec::new();
    let (mut is_open, mut is_fenced) = (false, false);
    for (index, line) in source.lines().enumerate() {
        let Some(text) = line.trim_start().strip_prefix("//") else {
            (is_open, is_fenced) = (false, false);
            continue;
        };
        let is_doc = text.starts_with(['/', '!']);
        let text = text.trim_start_matches(['/', '!']).trim();
        if !is_open {
            comments.push(Comment { line: index + 1, is_doc, text: String::new() });
            is_open = true;
        }
        if text.starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced && let Some(comment) = comments.last_mut() {
            comment.text.push(' ');
            comment.text.push_str(text);
        }
    }
    comments
}

/// Returns what a comment has against the rules of prose.
fn findings(comment: &Comment) -> Vec<String> {
    let first = comment.text.split_whitespace().next().unwrap_or_default();
    let question =
        (comment.is_doc && QUESTIONS.contains(&first)).then(|| format!("begins with {first}"));
    let letters = |letter: char| if letter.is_alphabetic() { letter } else { ' ' };
    let plain: String = comment.text.to_lowercase().chars().map(letters).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let plain = format!(" {} ", words.join(" "));
    let banned = words.iter().filter(|word| WORDS.contains(word)).map(|word| (*word).to_owned());
    let phrases = PHRASES.iter().filter(|phrase| plain.contains(**phrase));
    let phrases = phrases.map(|phrase| phrase.trim().to_owned());
    question.into_iter().chain(banned).chain(phrases).collect()
}

#[test]
fn comments_avoid_banned_words_and_question_openings() {
    let (mut report, mut count) = (String::new(), 0);
    for path in sources() {
        for comment in comments(&fs::read_to_string(&path).unwrap()) {
            for finding in findings(&comment) {
                count += 1;
                let path = path.strip_prefix(root()).unwrap().display();
                writeln!(report, "{path}:{}: {finding}", comment.line).unwrap();
            }
        }
    }
    assert!(
        count <= MAX_FINDINGS,
        "{report}{count} findings, {MAX_FINDINGS} allowed: see CONTRIBUTING.md"
    );
}

/// The path of a module from the root of its crate: `["store", "sqlite"]`.
type ModulePath = Vec<String>;

/// Returns the modules of a crate with their sources, without the tests.
fn modules(source: &Path) -> BTreeMap<ModulePath, String> {
    let files = rust_files(source).into_iter().map(|path| {
        let module = path.strip_prefix(source).unwrap().with_extension("");
        let module: ModulePath =
            module.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        let code = fs::read_to_string(&path).unwrap();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        (module, code.collect::<Vec<_>>().join("\n"))
    });
    let is_production =
        |part: &String| !["lib", "main", "tests", "testing"].contains(&part.as_str());
    files.filter(|(module, _)| module.iter().all(is_production)).collect()
}

/// Returns the paths of its crate that a module names: those after `crate::`, and those after `super::`.
fn named_paths(module: &[String], code: &str) -> BTreeSet<ModulePath> {
    let parent = &module[..module.len() - 1];
    let from_root = code.split("crate::").skip(1).map(|path| (&[][..], path));
    let from_parent = code.split("super::").skip(1).map(|path| (parent, path));
    let mut paths = BTreeSet::new();
    for (base, path) in from_root.chain(from_parent) {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        let end = path.find(|letter| !is_name(letter)).unwrap_or(path.len());
        let list = path[end..].strip_prefix('{').and_then(|list| list.split('}').next());
        for item in list.unwrap_or_default().split(',') {
            let names = path[..end].split("::").chain(item.trim().split("::"));
            let names = names.filter(|name| !name.is_empty()).map(ToOwned::to_owned);
            paths.insert(base.iter().cloned().chain(names).collect());
        }
    }
    paths
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn modules_import_only_from_lower_floors() {
    let mut wrong = BTreeSet::new();
    for (module, code) in modules(&root().join("commerce-core/src")) {
        for path in named_paths(&module, &code) {
            let (from, to) = (&module[0], &path[0]);
            let is_lower =
                matches!((floor_of(from), floor_of(to)), (Some(from), Some(to)) if to < from);
            if from != to && !is_lower {
                wrong.insert(format!("{}: {from} imports {to}", module.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "against the floors of ARCHITECTURE.md: {wrong:#?}");
}

/// A module and the modules inside it may import each other; they are one unit to a reader.
#[test]
fn modules_of_a_crate_import_each_other_in_no_circle() {
    for path in crates() {
        let modules = modules(&path.join("src"));
        let defining = |path: ModulePath| {
            (1..=path.len())
                .rev()
                .map(|end| path[..end].to_vec())
                .find(|path| modules.contains_key(path))
        };
        let mut imports: BTreeMap<&ModulePath, BTreeSet<ModulePath>> = BTreeMap::new();
        for (module, code) in &modules {
            let imported = named_paths(module, code).into_iter().filter_map(defining);
            let is_apart =
                |other: &ModulePath| !other.starts_with(module) && !module.starts_with(other);
            imports.insert(module, imported.filter(is_apart).collect());
        }
        // Without a circle there is always a module that imports none of the rest.
        loop {
            let rest: BTreeSet<_> = imports.keys().copied().cloned().collect();
            for imported in imports.values_mut() {
                imported.retain(|other| rest.contains(other));
            }
            imports.retain(|_, imported| !imported.is_empty());
            if imports.len() == rest.len() {
                break;
            }
        }
        let describe = |(module, imported): (&ModulePath, BTreeSet<ModulePath>)| {
            let imported: Vec<_> = imported.iter().map(|other| other.join("::")).collect();
            format!("{} imports {}", module.join("::"), imported.join(", "))
        };
        let circles: Vec<_> = imports.into_iter().map(describe).collect();
        assert!(
            circles.is_empty(),
            "{}: circles, and imports of them: {circles:#?}",
            path.display()
        );
    }
}
