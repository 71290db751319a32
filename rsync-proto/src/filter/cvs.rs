//! The cvs list of `-C` (spec 06 §5).

use super::list::{Rule, RuleList};
use super::{Verdict, text};

/// The patterns every cvs list starts with; a trailing slash means directories only.
pub const DEFAULT_CVS_PATTERNS: &str = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state \
    .nse_depinfo *~ #* .#* ,* _$* *$ *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe \
    *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";

/// The cvs list: the defaults (`perishable` when the protocol has that), then the words of
/// `$HOME/.cvsignore` and of `$CVSIGNORE`; the word `!` drops what came before it.
#[must_use]
pub fn cvs_rules(perishable: bool, home: Option<&[u8]>, environment: Option<&[u8]>) -> RuleList {
    let mut list = RuleList::default();
    for word in text::words(DEFAULT_CVS_PATTERNS.as_bytes(), false) {
        let mut rule = Rule::plain(Verdict::Exclude, word);
        rule.modifiers.perishable = perishable;
        list.push(rule);
    }
    let given = home.into_iter().map(|text| (text, true)).chain(environment.map(|text| (text, false)));
    for (text, from_file) in given {
        for word in text::words(text, false).filter(|word| word.len() < super::MAX_PATH) {
            if word == b"!" {
                list.clear();
            } else {
                list.push(Rule { from_file, ..Rule::plain(Verdict::Exclude, word) });
            }
        }
    }
    list
}
