//! Login, second factor, account pages and the login API.
