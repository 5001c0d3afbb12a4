//! Who may have told an owner of its hold.
//!
//! # Problem
//!
//! A grant is answered by some node, and that node cannot always do so: its client has hung up. It says
//! so (Leave), and the grant is undone, lest a hold that nobody knows of keeps everybody else out. But the
//! client may have asked again in the meantime, at another node, and have been told there. And it may
//! have hung up on that one as well.
//!
//! # Idea
//!
//! Every ask that is answered with the hold adds its attachment to the hold's *tellers*; a Leave takes
//! its own away. A node that has delivered its answer never says Leave, so as long as somebody is left,
//! the owner may know. When the last one has left, nobody knows, and the hold is undone. An owner that
//! names its hold by the id has *heard* of it, whoever told it; from then on nobody's Leave counts.
//!
//! Rejected: only the newest ask counts. Then either its Leave takes a hold from an owner that knows of
//! it from an earlier ask, or two asks that are both hung up on leave a hold without an owner.
//!
//! # Caveats
//!
//! A node that dies never says Leave: what it may have told of stays for its lease. And an owner that
//! asks over and over ([`TELLERS_MAX`]) while nobody can say that it could not be told is taken to have
//! heard.

use std::sync::Arc;

use super::request::Attachment;

/// More are not remembered.
pub(super) const TELLERS_MAX: usize = 32;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tellers {
    /// The owner knows, or was told by somebody who will not say that it could not.
    Heard,
    /// This one may have told it.
    One(Attachment),
    /// These may have, oldest first. Empty if the owner has asked for more than the hold: it is told when
    /// it gets that.
    These(Arc<[Attachment]>),
}

impl Tellers {
    /// The one who is answered with the grant; `None`: somebody without an attachment.
    pub(super) fn of(attachment: Option<Attachment>) -> Self {
        attachment.map_or(Self::Heard, Self::One)
    }

    /// Nobody yet.
    pub(super) fn nobody() -> Self {
        Self::These(Arc::new([]))
    }

    /// As they were when a snapshot was taken; `None`: heard.
    pub(super) fn restored(all: Option<&[Attachment]>) -> Self {
        match all {
            None => Self::Heard,
            Some([one]) => Self::One(*one),
            Some(all) => Self::These(all.into()),
        }
    }

    /// Another one is answered with the same hold.
    pub(super) fn with(&self, attachment: Option<Attachment>) -> Self {
        let Some((all, new)) = self.all().zip(attachment) else { return Self::Heard };
        if all.contains(&new) {
            return self.clone();
        }
        if all.len() == TELLERS_MAX {
            return Self::Heard;
        }
        let all: Vec<_> = all.iter().copied().chain([new]).collect();
        Self::restored(Some(&all))
    }

    /// This one has not told it, and never will.
    pub(super) fn without(&self, gone: Attachment) -> Self {
        let Some(all) = self.all() else { return Self::Heard };
        let all: Vec<_> = all.iter().copied().filter(|it| *it != gone).collect();
        Self::restored(Some(&all))
    }

    /// Nobody has told the owner, and nobody will.
    pub(super) fn is_nobody(&self) -> bool {
        self.all().is_some_and(<[Attachment]>::is_empty)
    }

    /// All of them, oldest first; `None`: heard.
    pub(super) fn all(&self) -> Option<&[Attachment]> {
        match self {
            Self::Heard => None,
            Self::One(one) => Some(std::slice::from_ref(one)),
            Self::These(all) => Some(all),
        }
    }

    /// All whose Leave counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = Attachment> + '_ {
        self.all().unwrap_or_default().iter().copied()
    }

    pub(super) fn newest(&self) -> Option<Attachment> {
        self.all()?.last().copied()
    }
}
