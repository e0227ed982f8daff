//! A browser's own word for itself, as a person would say it.

/// `Firefox on Linux`; what it says is hearsay and only for the owner's eyes.
pub fn plainly(agent: &str) -> String {
    // The order matters: most browsers claim to be others too.
    let browser = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let system = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("CrOS", "ChromeOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "Mac"),
        ("Linux", "Linux"),
    ];
    let find = |table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    match (find(&browser), find(&system)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "A program or browser that we do not know".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::plainly;

    #[test]
    fn browsers_are_told_apart_by_what_they_claim_last() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
        assert_eq!(plainly(chrome), "Chrome on Linux");
        assert_eq!(plainly(&format!("{chrome} Edg/142.0")), "Edge on Linux");
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18 Mobile Safari/604";
        assert_eq!(plainly(phone), "Safari on iPhone");
        assert_eq!(plainly("curl/8.0"), "curl");
        assert!(plainly("<script>").starts_with("A program"));
    }
}
