//! The definition of the command line. Help, completions and man pages come from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One namespace over many stores.
///
/// A PATH is a path of the namespace (/local/data/report.txt), a URI (local:///srv/x, s3://b/k), or a
/// file of this computer written as such (report.txt, ./x, ~/x).
#[derive(Debug, Parser)]
#[command(name = "nexus-fs", version, max_term_width = 100, propagate_version = true)]
#[command(after_long_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 permission or credentials, 5 conflict,
6 integrity, 7 some of many failed, 130 interrupted.

Examples:
  nexus-fs mount ~/data --at /data       save a mount
  nexus-fs ls -l /data                   list it
  nexus-fs cp -r /data ./backup          copy it to a folder of this computer
  nexus-fs --mount mem://x ls /mem/x     mount on the spot, for this command")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Mount this URI for this command, or `PATH=URI` to choose where; may be repeated
    #[arg(long, global = true, value_name = "URI", help_heading = "Options for every command")]
    pub(crate) mount: Vec<String>,
    /// Print JSON: one document, or one object a line
    #[arg(long, global = true, help_heading = "Options for every command")]
    pub(crate) json: bool,
    /// Print no remarks and no progress
    #[arg(short, long, global = true, help_heading = "Options for every command")]
    pub(crate) quiet: bool,
    /// Show what caused an error
    #[arg(short, long, global = true, help_heading = "Options for every command")]
    pub(crate) verbose: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Options for every command")]
    pub(crate) color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Save mounts, list them, or try one
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    #[command(after_long_help = "\
Examples:
  nexus-fs mount ./data                  mounted at /local/data
  nexus-fs mount local:///srv --at /srv
  nexus-fs mount list
  nexus-fs mount test ./data")]
    Mount(MountArgs),
    /// Forget a saved mount; what is in it stays
    #[command(after_long_help = "Examples:\n  nexus-fs unmount /local/data")]
    Unmount {
        /// Mount points, or URIs as they were saved
        #[arg(required = true, value_name = "PATH|URI")]
        mounts: Vec<String>,
    },
    /// List directories
    #[command(after_long_help = "\
Examples:
  nexus-fs ls /                          the mounts
  nexus-fs ls -l /local/data             with sizes, times and digests
  nexus-fs ls -R --json /local/data      everything, one JSON object a line")]
    Ls(LsArgs),
    /// Show directories as trees
    #[command(after_long_help = "Examples:\n  nexus-fs tree -L 2 /local/data")]
    Tree {
        #[arg(default_value = "/")]
        path: String,
        /// Go down this many levels
        #[arg(short = 'L', long, value_name = "N")]
        depth: Option<usize>,
    },
    /// Show what is known of files
    #[command(after_long_help = "Examples:\n  nexus-fs stat --json /local/data/report.txt")]
    Stat {
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Print the content of files
    #[command(after_long_help = "\
Examples:
  nexus-fs cat /local/data/a.txt /local/data/b.txt
  nexus-fs cat --range 0-100 /local/data/a.bin     the first 100 bytes
  nexus-fs cat --range 100- /local/data/a.bin      all but those")]
    Cat {
        #[arg(required = true)]
        paths: Vec<String>,
        /// Only the bytes from START up to, not including, END (or to the end)
        #[arg(long, value_name = "START-[END]")]
        range: Option<String>,
    },
    /// Print the beginning of files
    #[command(after_long_help = "Examples:\n  nexus-fs head -n 5 /local/data/a.txt")]
    Head {
        #[arg(required = true)]
        paths: Vec<String>,
        /// This many lines
        #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
        lines: u64,
        /// This many bytes instead
        #[arg(short = 'c', long, value_name = "N", conflicts_with = "lines")]
        bytes: Option<u64>,
    },
    /// Write a file, whole: from an argument, a file, or standard input
    #[command(after_long_help = "\
Examples:
  nexus-fs write /local/data/a.txt 'hello'
  nexus-fs write /local/data/b.txt --file ./b.txt
  make | nexus-fs write /local/data/log.txt
  nexus-fs write /local/data/new.txt --create 'only if it is new'")]
    Write(WriteArgs),
    /// Copy files and directories, between any mounts
    #[command(after_long_help = "\
Examples:
  nexus-fs cp /local/data/a.txt /local/data/b.txt
  nexus-fs cp -r /local/data /local/backup
  nexus-fs cp report.txt /local/data/              into a directory")]
    Cp(CopyArgs),
    /// Copy what differs into a mount that keeps content by digest, and say what it had already
    #[command(after_long_help = "\
Examples:
  nexus-fs import ./photos /local/store            to /local/store/photos
  nexus-fs import --dry-run ./photos /local/store  only says what it would do")]
    Import(AdoptArgs),
    /// Copy what differs out of a mount that keeps content by digest, verified
    #[command(after_long_help = "\
Examples:
  nexus-fs export /local/store/photos ./out        to ./out/photos
  nexus-fs export /local/store/photos/ ./out       to ./out")]
    Export(AdoptArgs),
    /// Move or rename files and directories, between any mounts
    #[command(after_long_help = "Examples:\n  nexus-fs mv /local/data/a.txt /local/data/b.txt")]
    Mv(MoveArgs),
    /// Remove files and directories
    #[command(after_long_help = "Examples:\n  nexus-fs rm -r /local/data/old")]
    Rm {
        #[arg(required = true)]
        paths: Vec<String>,
        /// Directories too, with all that is below them
        #[arg(short, long)]
        recursive: bool,
        /// What is absent is no error
        #[arg(short, long)]
        force: bool,
    },
    /// Make directories
    #[command(after_long_help = "Examples:\n  nexus-fs mkdir -p /local/data/a/b")]
    Mkdir {
        #[arg(required = true)]
        paths: Vec<String>,
        /// Those above too, and none is an error when it is there
        #[arg(short, long)]
        parents: bool,
    },
    /// Find files by name, type, size and age
    #[command(after_long_help = "\
Examples:
  nexus-fs find /local/data --name '*.rs' --size +10k
  nexus-fs find /local/data --type d
  nexus-fs find /local/data --newer 2h")]
    Find(FindArgs),
    /// Find files by a pattern of their whole path
    #[command(after_long_help = "Examples:\n  nexus-fs glob '/local/data/**/*.{md,txt}'")]
    Glob {
        /// `*` `?` `[…]` `{a,b}` inside a segment, `**` across
        pattern: String,
    },
    /// Search the contents of files
    #[command(after_long_help = "\
Examples:
  nexus-fs grep -n 'fn main' /local/data
  nexus-fs grep -il todo /local/data")]
    Grep(GrepArgs),
    /// Sum up sizes
    #[command(
        after_long_help = "Examples:\n  nexus-fs du /local/data\n  nexus-fs du --physical /local/store"
    )]
    Du {
        /// All mounts when absent
        paths: Vec<String>,
        /// One sum for each PATH, not one for each directory in it
        #[arg(short, long)]
        summarize: bool,
        /// What content-addressed mounts store, beside what their files would take
        #[arg(long, conflicts_with = "summarize")]
        physical: bool,
    },
    /// Read content-addressed mounts back, oldest check first, and mend them from other mounts
    #[command(after_long_help = "\
Examples:
  nexus-fs verify /local/store
  nexus-fs verify --resume /local/store                goes on where the last run was interrupted
  nexus-fs verify --older 7d                           what was not read back for a week, of all
  nexus-fs verify --mount local:///backup /local/store  mends from there, too")]
    Verify {
        /// All content-addressed mounts when absent
        path: Option<String>,
        /// Go on with a run that was interrupted
        #[arg(long, conflicts_with = "older")]
        resume: bool,
        /// Only what was last read back longer ago (30s, 10m, 2h, 7d), or before a date
        #[arg(long, value_name = "AGE|DATE")]
        older: Option<String>,
    },
    /// Say what content-addressed mounts keep for nobody, or delete it
    #[command(after_long_help = "\
Examples:
  nexus-fs gc /local/store              only says what it would delete
  nexus-fs gc --delete /local/store")]
    Gc {
        /// All content-addressed mounts when absent
        path: Option<String>,
        /// Delete it
        #[arg(long)]
        delete: bool,
        /// Delete even more than a tenth of what is stored
        #[arg(long, requires = "delete")]
        force: bool,
    },
    /// Replace text in a file, exactly
    #[command(after_long_help = "\
Examples:
  nexus-fs edit /local/data/a.txt --old colour --new color --preview")]
    Edit(EditArgs),
    /// Show what this program was built with
    Backends,
    /// Look at the surroundings and at mounts, and say what is wrong
    #[command(after_long_help = "Examples:\n  nexus-fs doctor\n  nexus-fs doctor --mount ./data")]
    Doctor,
    /// Print completions for a shell
    #[command(
        after_long_help = "Examples:\n  nexus-fs completions bash > ~/.local/share/bash-completion/completions/nexus-fs"
    )]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write one for each command
    Man {
        /// Write the pages into this directory of this computer
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MountCommand>,
    /// What to mount
    #[arg(required = true, value_name = "URI")]
    pub(crate) uris: Vec<String>,
    /// Where to mount it, instead of where the URI says
    #[arg(long, value_name = "PATH")]
    pub(crate) at: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MountCommand {
    /// List the saved mounts
    List,
    /// Mount a URI, look at it, and forget it
    Test {
        #[arg(value_name = "URI")]
        uri: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[arg(default_value = "/")]
    pub(crate) paths: Vec<String>,
    /// Sizes, times and digests
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Everything below, too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Names as they come, unsorted
    #[arg(short = 'U', long)]
    pub(crate) unsorted: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    pub(crate) path: String,
    /// The content; standard input when absent or `-`
    pub(crate) text: Option<String>,
    /// The content of this file of this computer
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Only when nothing is there yet
    #[arg(long, conflicts_with = "if_version")]
    pub(crate) create: bool,
    /// Only when it is still this version (see `stat`)
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<String>,
    /// Media type to store with it
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// What to copy, and last where to
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Directories too, with all that is below them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Replace nothing
    #[arg(short, long)]
    pub(crate) no_clobber: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// Files and directories, and last the directory that they go into, under their own names; of one
    /// that is written with `/` at its end, what is in it
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Say what would be copied, and copy nothing; what is twice in the source counts twice
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// What to move, and last where to
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Replace nothing
    #[arg(short, long)]
    pub(crate) no_clobber: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// The name matches this pattern
    #[arg(long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// f: files, d: directories, l: links
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<FindKind>,
    /// More (+) or less (-) than so many bytes, or exactly; with k, M, G
    #[arg(long, value_name = "[+-]N", allow_hyphen_values = true)]
    pub(crate) size: Option<String>,
    /// Changed less long ago (30s, 10m, 2h, 7d), or after a date (2026-01-31)
    #[arg(long, value_name = "AGE|DATE")]
    pub(crate) newer: Option<String>,
    /// Changed longer ago, or before a date
    #[arg(long, value_name = "AGE|DATE")]
    pub(crate) older: Option<String>,
    /// Go down this many levels
    #[arg(short = 'L', long, value_name = "N")]
    pub(crate) depth: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindKind {
    F,
    D,
    L,
}

#[derive(Debug, Args)]
pub(crate) struct GrepArgs {
    /// A regular expression
    pub(crate) pattern: String,
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
    /// Upper and lower case are the same
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    /// Names of files that match, nothing else
    #[arg(short = 'l', long)]
    pub(crate) files_with_matches: bool,
    /// How many lines match in each file
    #[arg(short, long)]
    pub(crate) count: bool,
    /// Numbers of lines
    #[arg(short = 'n', long)]
    pub(crate) line_number: bool,
    /// So many lines before and after each match
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub(crate) context: usize,
    /// The pattern is text, not an expression
    #[arg(short = 'F', long)]
    pub(crate) fixed_strings: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    pub(crate) path: String,
    /// The text to replace; it must be there exactly once
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) old: String,
    /// The text to put in its place
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) new: String,
    /// Replace it wherever it is
    #[arg(long)]
    pub(crate) all: bool,
    /// Show the change, and write nothing
    #[arg(long)]
    pub(crate) preview: bool,
}
