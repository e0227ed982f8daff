//! Two requests at once, in every order that their steps can be taken: from one await to the
//! next, first one of them, then the other. What holds one after the other holds in each.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use tokio::sync::Notify;

use super::{super::recovery::shown, *};

/// Rings when a future can go on.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Goes on to the next await, and waits until what it waits for is there.
async fn step<F: Future>(it: Pin<&mut F>, bell: &Arc<Bell>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(bell));
    match it.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => {
            let rung = tokio::time::timeout(Duration::from_secs(10), bell.0.notified());
            rung.await.expect("something to go on with");
            Poll::Pending
        }
    }
}

/// One future, the steps that it took, and what came of it.
struct Runner<F: Future> {
    it: Pin<Box<F>>,
    bell: Arc<Bell>,
    steps: usize,
    done: Option<F::Output>,
}

impl<F: Future> Runner<F> {
    fn new(it: F) -> Self {
        Self {
            it: Box::pin(it),
            bell: Arc::new(Bell(Notify::new())),
            steps: 0,
            done: None,
        }
    }

    async fn step(&mut self) {
        if self.done.is_none() {
            self.steps += 1;
            if let Poll::Ready(done) = step(self.it.as_mut(), &self.bell).await {
                self.done = Some(done);
            }
        }
    }

    async fn finish(&mut self) {
        while self.done.is_none() {
            self.step().await;
        }
    }
}

/// What came of both in this order (`true`: the first one's turn), and how many steps each took.
async fn in_order<A: Future, B: Future>(
    order: &[bool],
    first: A,
    second: B,
) -> (A::Output, B::Output, (usize, usize)) {
    let (mut first, mut second) = (Runner::new(first), Runner::new(second));
    for turn in order {
        if *turn {
            first.step().await;
        } else {
            second.step().await;
        }
    }
    first.finish().await;
    second.finish().await;
    let steps = (first.steps, second.steps);
    (first.done.unwrap(), second.done.unwrap(), steps)
}

/// Every order of `first` turns of one and `second` of the other.
fn orders(first: usize, second: usize) -> Vec<Vec<bool>> {
    if first == 0 || second == 0 {
        return vec![[vec![true; first], vec![false; second]].concat()];
    }
    let with = |turn: bool, rest: Vec<Vec<bool>>| {
        rest.into_iter()
            .map(move |it| [vec![turn], it].concat())
            .collect::<Vec<_>>()
    };
    let mut all = with(true, orders(first - 1, second));
    all.extend(with(false, orders(first, second - 1)));
    all
}

/// Tries a case in every order; it gives the steps that both took.
async fn in_every_order(case: impl AsyncFn(&[bool]) -> (usize, usize)) {
    let mut tries = 0;
    let (first, second) = loop {
        let (first, second) = case(&[]).await;
        tries += 1;
        // (On a busy machine what is waited for may be there at once, or be rung for twice.)
        if first > 1 && second > 1 && first + second < 12 {
            break (first, second);
        }
        assert!(tries < 10, "{first} and {second} steps are no two requests");
    };
    let all = orders(first, second);
    for order in all {
        case(&order).await;
    }
}

/// Where an answer sends the browser, if anywhere.
fn leads_to(it: &Reply) -> &str {
    let location = it.headers.get(header::LOCATION);
    location.map_or("", |it| it.to_str().unwrap())
}

/// The statuses, sorted.
fn both(one: &Reply, other: &Reply) -> [u16; 2] {
    let mut both = [one.status, other.status];
    both.sort_unstable();
    both
}

async fn remove(browser: &Browser<'_>, factor: &str) -> Reply {
    let url = at(PORTAL, &format!("{FACTORS}/remove"));
    browser.post(&url, &[("factor", factor)]).await
}

fn handle() -> String {
    "01".repeat(32)
}

#[tokio::test]
async fn the_last_two_factors_are_never_both_removed() {
    in_every_order(async |order| {
        let (town, _) = with_key("key", |_| {}).await;
        let browser = signed_in(&town, "alice").await;
        let (app, key, steps) =
            in_order(order, remove(&browser, "totp"), remove(&browser, &handle())).await;
        assert_eq!(both(&app, &key), [303, 422], "{order:?}");
        let page = browser.get(&at(PORTAL, FACTORS), OWN_PAGE).await.text;
        let left = [
            page.contains(">ring<"),
            page.contains("<strong>Authenticator app"),
        ];
        assert!(left.contains(&true), "{order:?}: {page}");
        steps
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_removed_leaves_no_session_behind() {
    in_every_order(async |order| {
        let (town, key) = with_key("key", |_| {}).await;
        let browser = signed_in(&town, "alice").await;
        let thief = half_way(&town, "alice").await;
        let answer = key.answer(&ask(&thief, START, json!({})).await);
        let (removed, used, steps) = in_order(
            order,
            remove(&browser, &handle()),
            give(&thief, "/login/key", &answer),
        )
        .await;
        assert_eq!(removed.status, 303, "{order:?}");
        assert!(
            [303, 401].contains(&used.status),
            "{order:?}: {}",
            used.text
        );
        let who = whoami(&thief).await;
        assert!(who["user"].is_null(), "{order:?}: {who}");
        steps
    })
    .await;
}

#[tokio::test]
async fn l6_one_answer_given_twice_signs_in_once() {
    in_every_order(async |order| {
        let (town, key) = with_key("key", |_| {}).await;
        let (one, two) = (half_way(&town, "alice").await, Browser::new(&town));
        let answer = key.answer(&ask(&one, START, json!({})).await);
        // The same cookies in another browser: a tab that was copied.
        *two.jar.borrow_mut() = one.jar.borrow().clone();
        let (first, second, steps) = in_order(
            order,
            give(&one, "/login/key", &answer),
            give(&two, "/login/key", &answer),
        )
        .await;
        let good = [&first, &second]
            .iter()
            .filter(|it| leads_to(it) == "/account")
            .count();
        assert_eq!(good, 1, "{order:?}: {} {}", first.text, second.text);
        steps
    })
    .await;
}

#[tokio::test]
async fn l1_one_code_given_twice_signs_in_once() {
    in_every_order(async |order| {
        let town = town().await;
        let (one, two) = (
            half_way(&town, "alice").await,
            half_way(&town, "alice").await,
        );
        let code = town.code(&alices_secret());
        let fields = [("code", code.as_str())];
        let url = at(PORTAL, "/login/code");
        let (first, second, steps) =
            in_order(order, one.post(&url, &fields), two.post(&url, &fields)).await;
        assert_eq!(both(&first, &second), [303, 401], "{order:?}");
        steps
    })
    .await;
}

/// A town, Alice's browser, and ten codes of hers.
async fn with_codes(town: &Town) -> (Browser<'_>, Vec<String>) {
    let browser = signed_in(town, "alice").await;
    let url = at(PORTAL, "/account/recovery");
    let codes = shown(&browser.post(&url, &[("make", "")]).await.text);
    assert_eq!(codes.len(), 10);
    (browser, codes)
}

#[tokio::test]
async fn l1_one_recovery_code_given_twice_signs_in_once() {
    in_every_order(async |order| {
        let town = town().await;
        let (_browser, codes) = with_codes(&town).await;
        let (one, two) = (
            half_way(&town, "alice").await,
            half_way(&town, "alice").await,
        );
        let url = at(PORTAL, "/login/recovery");
        let fields = [("code", codes[0].as_str())];
        let (first, second, steps) =
            in_order(order, one.post(&url, &fields), two.post(&url, &fields)).await;
        assert_eq!(both(&first, &second), [303, 401], "{order:?}");
        steps
    })
    .await;
}

#[tokio::test]
async fn new_recovery_codes_and_an_old_one_at_once_leave_ten_that_work() {
    in_every_order(async |order| {
        let town = town().await;
        let (browser, codes) = with_codes(&town).await;
        let other = half_way(&town, "alice").await;
        let (page, step) = (
            at(PORTAL, "/account/recovery"),
            at(PORTAL, "/login/recovery"),
        );
        let fields = [("code", codes[0].as_str())];
        let (made, used, steps) = in_order(
            order,
            browser.post(&page, &[("make", "")]),
            other.post(&step, &fields),
        )
        .await;
        let new = shown(&made.text);
        assert_eq!(new.len(), 10, "{order:?}: {}", made.text);
        assert!([303, 401].contains(&used.status), "{order:?}");
        let again = half_way(&town, "alice").await;
        assert_eq!(again.post(&step, &fields).await.status, 401, "{order:?}");
        // (Who was wrong twice waits a little.)
        town.next_code();
        let fresh = [("code", new[0].as_str())];
        assert_eq!(again.post(&step, &fresh).await.status, 303, "{order:?}");
        steps
    })
    .await;
}

#[tokio::test]
async fn one_registration_given_twice_is_one_key() {
    in_every_order(async |order| {
        let town = town().await;
        let browser = signed_in(&town, "alice").await;
        let mut key = SoftKey::new(1);
        let options = ask(&browser, "/account/factors/start", json!({ "kind": "key" })).await;
        let answer = key.register(&options).to_string();
        let fields = [("kind", "key"), ("name", "ring"), ("credential", &*answer)];
        let url = at(PORTAL, "/account/factors/add");
        let (first, second, steps) = in_order(
            order,
            browser.post(&url, &fields),
            browser.post(&url, &fields),
        )
        .await;
        let added = |it: &Reply| leads_to(it) == "/account/factors?done=added";
        assert!(added(&first) != added(&second), "{order:?}");
        let page = browser.get(&at(PORTAL, FACTORS), OWN_PAGE).await.text;
        assert_eq!(page.matches(">ring<").count(), 1, "{order:?}");
        steps
    })
    .await;
}

#[test]
fn every_order_is_there_once() {
    let mut all = orders(3, 4);
    assert_eq!(all.len(), 35);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 35);
}
