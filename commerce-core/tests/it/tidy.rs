//! Checks of the sources themselves: the words of comments, and the imports between the modules of the
//! library.

use std::collections::BTreeSet;
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
const MAX_FINDINGS: usize = 297;

/// The floors of the library, from the lowest. A module imports only from floors below its own.
const FLOORS: [&[&str]; 14] = [
    &["clock", "histogram", "id", "money", "sync", "text"],
    &["limits"],
    &["model"],
    &["codes"],
    &["error"],
    &["entropy", "idempotency", "relay_stats"],
    &["destination", "digest", "gateway", "password", "query", "sequence", "threads", "version"],
    &["state"],
    &["rule", "store"],
    &["audit", "command", "copy"],
    &["engine"],
    &["shop"],
    &["auth", "charges", "relay"],
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

/// Returns all Rust files of the crates.
fn sources() -> Vec<PathBuf> {
    let crates = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let crates = crates.filter(|path| path.join("Cargo.toml").exists());
    let folders = crates
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

/// Returns the modules of the library that a file imports from.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<_> = code.collect();
    let code = code.join("\n");
    let mut modules = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let list = path.strip_prefix('{').map(|list| list.split('}').next().unwrap());
        for name in
            list.unwrap_or(path).split(',').take(if list.is_some() { usize::MAX } else { 1 })
        {
            let name = name.trim_start();
            let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            modules.insert(name[..end.unwrap_or(name.len())].to_owned());
        }
    }
    modules
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn is_allowed(from: &str, to: &str) -> bool {
    from == to || matches!((floor_of(from), floor_of(to)), (Some(from), Some(to)) if to < from)
}

#[test]
fn modules_import_only_from_lower_floors() {
    let source = root().join("commerce-core/src");
    let mut wrong = BTreeSet::new();
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let is_test = relative.iter().any(|part| part == "tests.rs" || part == "testing.rs");
        if module == "lib" || is_test {
            continue;
        }
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            if !is_allowed(module, &import) {
                wrong.insert(format!("{}: {module} imports {import}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the floors of ARCHITECTURE.md: {wrong:#?}");
}
