//! Users, groups, passwords, TOTP, set-up links.
