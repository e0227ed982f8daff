//! What hyper must never see: ambiguous message framing.
