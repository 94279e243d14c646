//! The segments of a path with `.` and `..` resolved (RFC 3986, section 5.2.4), one at a time and without
//! a place to keep them.

use core::iter::FusedIterator;

use super::Component;

/// The segments of a path that remain when `.` and `..` are resolved.
#[derive(Clone, Debug)]
pub struct PathSegments<'a> {
    /// What is not yet given out, without the slash before it; `None` at the end.
    rest: Option<&'a str>,
    /// Whether `..` occurs, so that looking ahead is needed.
    steps_up: bool,
    /// Whether a segment was given out.
    any: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `.`: this place.
    Here,
    /// `..`: the place above.
    Up,
    Plain,
}

impl Kind {
    /// Percent-encoded dots are dots too, as they are "unreserved" characters (RFC 3986, section 6.2.2.2).
    fn of(segment: &str) -> Kind {
        let mut bytes = Component(segment).bytes();
        match (bytes.next(), bytes.next(), bytes.next()) {
            (Some(b'.'), None, None) => Kind::Here,
            (Some(b'.'), Some(b'.'), None) => Kind::Up,
            _ => Kind::Plain,
        }
    }
}

impl<'a> PathSegments<'a> {
    pub(super) fn new(path: &'a str) -> PathSegments<'a> {
        let rest = path.strip_prefix('/').filter(|rest| !rest.is_empty());
        let steps_up =
            rest.is_some_and(|rest| rest.split('/').any(|one| Kind::of(one) == Kind::Up));
        PathSegments {
            rest,
            steps_up,
            any: false,
        }
    }

    /// Whether a `..` in `rest` removes the segment before `rest`.
    fn is_removed(rest: &str) -> bool {
        let mut depth = 1_usize;
        for segment in rest.split('/') {
            match Kind::of(segment) {
                Kind::Here => {}
                Kind::Plain => depth += 1,
                Kind::Up if depth == 1 => return true,
                Kind::Up => depth -= 1,
            }
        }
        false
    }
}

impl<'a> Iterator for PathSegments<'a> {
    type Item = Component<'a>;

    fn next(&mut self) -> Option<Component<'a>> {
        loop {
            let rest = self.rest?;
            let (segment, behind) = match rest.split_once('/') {
                Some((segment, behind)) => (segment, Some(behind)),
                None => (rest, None),
            };
            self.rest = behind;
            match (Kind::of(segment), behind) {
                (Kind::Plain, Some(behind)) if self.steps_up && Self::is_removed(behind) => {}
                // An empty last segment is the trailing slash; alone it is the path of a single slash.
                (Kind::Plain, None) if segment.is_empty() && !self.any => return None,
                (Kind::Plain, _) => {
                    self.any = true;
                    return Some(Component(segment));
                }
                // Dots at the end leave a trailing slash behind.
                (Kind::Here | Kind::Up, None) if self.any => return Some(Component("")),
                (Kind::Here | Kind::Up, _) => {}
            }
        }
    }
}

impl FusedIterator for PathSegments<'_> {}
