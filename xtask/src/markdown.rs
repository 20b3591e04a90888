//! The little of Markdown that the tasks need: fenced code blocks and links.

/// A fenced code block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its first fence, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence: `rust`, `console`, `text,no_run`.
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
}

/// All fenced code blocks, in order.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.trim().to_owned();
                open = Some(Block { line: index + 1, language, lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    blocks.extend(open);
    blocks
}

/// The targets of all links outside code blocks, with their lines.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        // Odd parts are inside backquotes.
        for part in line.split('`').step_by(2) {
            let targets = part.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| (index + 1, target.to_owned())));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
See [one](a.md) and [two](b.md#part), not `[three](c.md)`.

```console
$ ls [x](y)
out
```
[code `in` text](d.md)
";

    #[test]
    fn finds_blocks_with_language_and_line() {
        let blocks = blocks(TEXT);
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].line, blocks[0].language.as_str()), (3, "console"));
        assert_eq!(blocks[0].lines, ["$ ls [x](y)", "out"]);
    }

    #[test]
    fn finds_links_outside_code() {
        let links: Vec<_> = links(TEXT).into_iter().map(|(_, target)| target).collect();
        assert_eq!(links[..2], ["a.md", "b.md#part"]);
        assert!(!links.contains(&"c.md".to_owned()) && !links.contains(&"y".to_owned()));
    }
}
