//! The dashboard in a real browser: somebody finds what fails and why, mends it, replays it, and sees it drain. What a
//! handler says of itself stays text.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use mailroom_tests::browser::Browser;
use mailroom_tests::{LATER, Manifest, Message, SOON, Setup, World, becomes, in_world, paths};
use serde_json::json;

const TOKEN: &str = "operator-0123456789abcdef";
const OPEN: Setup = Setup {
    own_postgres: false,
    own_kafka: false,
    unmigrated: false,
    env: &[
        ("MAILROOM__ADMIN__LISTEN", "127.0.0.1:0"),
        ("MAILROOM__ADMIN__TOKENS__OLLIE__TOKEN", TOKEN),
        ("MAILROOM__ADMIN__TOKENS__OLLIE__ROLE", "operator"),
    ],
};
const OPEN_LETTERS: &str =
    "select count(*) from mailroom.dead_letter where replayed_at is null and discarded_at is null";
const HOSTILE: &str = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>";

/// A handler that fails in a function of its own, or is mended.
fn shop(is_mended: bool) -> String {
    let fails = if is_mended { "return;" } else { "" };
    format!(
        r#"import {{ defineHandler }} from "mailroom-guest";

function chargeCard(message) {{
  {fails}
  throw new Error("{HOSTILE}");
}}

export const handler = defineHandler({{
  subscriptions: [{{ topics: ["orders"] }}],
  handle(message) {{
    chargeCard(message);
  }},
}});
"#
    )
}

fn drop_shop(world: &World, is_mended: bool) -> Result<()> {
    let file = world.folder().join("handlers/shop.js");
    let partial = file.with_extension("partial");
    fs::write(&partial, shop(is_mended))?;
    Ok(fs::rename(&partial, &file)?)
}

/// Folder of pictures, for whoever wants to look at them.
fn pictures() -> Result<PathBuf> {
    let folder = paths::target()?.join("dashboard");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A large screen and a phone.
async fn pictures_of(browser: &Browser, page: &str) -> Result<()> {
    let folder = pictures()?;
    browser.picture((1280, 900), &folder.join(format!("{page}-large.png"))).await?;
    browser.picture((390, 844), &folder.join(format!("{page}-phone.png"))).await?;
    let wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    ensure!(browser.run(wider).await? == json!(false), "{page} is wider than a phone");
    Ok(())
}

/// Nothing that a handler said has run.
async fn is_unharmed(browser: &Browser) -> Result<()> {
    let harmed =
        "return window.pwned !== undefined || document.scripts.length > 0 || document.images.length > 0";
    ensure!(browser.run(harmed).await? == json!(false), "a handler's words are more than text");
    Ok(())
}

#[test]
fn somebody_finds_a_failing_group_reads_why_edits_one_replays_it_and_sees_it_drain() {
    in_world(OPEN, async |world| {
        let topic = world.kafka.topic("in", 1).await?;
        let manifest = Manifest::takes(&[&topic]).to_toml();
        fs::write(world.folder().join("handlers/shop.toml"), manifest)?;
        drop_shop(world, false)?;
        let host = world.start_host("a")?;
        let address = host.admin().await?.address();
        let orders: Vec<Message> = (0..5)
            .map(|number| {
                let order = json!({"order": number, "note": HOSTILE});
                Message::to(&topic).key(format!("k{number}")).id(&format!("order-{number}")).json(&order)
            })
            .collect();
        world.kafka.send_all(&orders).await?;
        becomes("all are dead", 5, LATER, async || world.db.one::<i64>(OPEN_LETTERS).await).await?;
        let browser = Browser::start(world.folder()).await?;

        content_is_hidden_without_a_token(&browser, address).await?;
        an_operator_reads_why(&browser).await?;
        one_letter_is_edited(world, &browser).await?;
        drop_shop(world, true)?;
        host.wait_log("Handler shop now runs").await?;
        the_group_is_replayed_and_drains(world, &browser).await?;
        a_handler_is_paused_and_resumed(&browser).await?;
        for page in ["Outbox", "Blocked keys"] {
            browser.click(&format!("//nav//a[text()='{page}']")).await?;
            browser.shows(page).await?;
        }
        browser.click("//button[text()='Sign out']").await?;
        browser.shows("Sign in").await?;
        browser.close().await?;
        host.stop().await?;
        Ok(())
    });
}

async fn content_is_hidden_without_a_token(browser: &Browser, address: SocketAddr) -> Result<()> {
    browser.open(&format!("http://{address}/")).await?;
    browser.shows("open dead letters").await?;
    pictures_of(browser, "overview").await?;
    browser.click("//nav//a[text()='Dead letters']").await?;
    browser.shows("exhausted").await?;
    pictures_of(browser, "groups").await?;
    browser.click("//a[text()='Look into it']").await?;
    browser.shows("5 open.").await?;
    is_unharmed(browser).await?;
    browser.click("//a[text()='order-0']").await?;
    browser.shows(HOSTILE).await?;
    is_unharmed(browser).await?;
    let shown = browser.text().await?;
    ensure!(shown.contains("whoever signs in as an operator") && !shown.contains("\"order\""), "{shown}");
    Ok(())
}

async fn an_operator_reads_why(browser: &Browser) -> Result<()> {
    browser.click("//a[text()='Sign in to change anything']").await?;
    browser.fill("//input[@name='token']", "wrong-0123456789abcdef").await?;
    browser.click("//button[text()='Sign in']").await?;
    browser.shows("none of this host's").await?;
    browser.fill("//input[@name='token']", TOKEN).await?;
    browser.click("//button[text()='Sign in']").await?;
    browser.shows("ollie (operator)").await?;
    browser.click("//nav//a[text()='Dead letters']").await?;
    browser.click("//a[text()='Look into it']").await?;
    browser.shows("Replay all 5").await?;
    pictures_of(browser, "group").await?;
    browser.click("//a[text()='order-0']").await?;
    browser.shows("chargeCard").await?;
    browser.shows("\"order\":0").await?;
    is_unharmed(browser).await?;
    pictures_of(browser, "letter").await?;
    Ok(())
}

/// The payload has lines, and an end that a browser would take for none of its own.
async fn one_letter_is_edited(world: &World, browser: &Browser) -> Result<()> {
    let said = "\n{\n  \"order\": 70\n}\n</textarea><script>window.pwned = 1</script>";
    let letter = "select id::text from mailroom.dead_letter where message_id = 'order-0'";
    let letter = world.db.one::<String>(letter).await?;
    world.mailroom(&["dead", "edit", &letter, "--payload", said]).await?.ok()?;
    browser.run("location.reload()").await?;
    browser.shows("\"order\": 70").await?;
    is_unharmed(browser).await?;
    browser.click("//summary[text()='Edit the payload']").await?;
    pictures_of(browser, "edit").await?;
    browser.fill("//textarea", "!").await?;
    browser.fill("//form[contains(@action, '/edit')]//input[@name='because']", "a wrong order").await?;
    browser.click("//button[text()='Save the payload']").await?;
    browser.shows("script>!").await?;
    is_unharmed(browser).await?;
    let edited = "select convert_from(payload, 'UTF8') from mailroom.inbox where message_id = 'order-0'";
    assert_eq!(world.db.one::<String>(edited).await?, format!("{said}!"));
    let audited = "select count(*) from mailroom.audit
                    where action = 'dead.edit' and actor = 'ollie' and reason = 'a wrong order'";
    assert_eq!(world.db.one::<i64>(audited).await?, 1);
    Ok(())
}

async fn the_group_is_replayed_and_drains(world: &World, browser: &Browser) -> Result<()> {
    browser.click("//nav//a[text()='Dead letters']").await?;
    browser.click("//a[text()='Look into it']").await?;
    browser.fill("//input[@name='because']", "the shop is mended").await?;
    browser.click("//button[text()='Replay all 5']").await?;
    browser.shows("5 letters replayed.").await?;
    browser.shows("No dead letters are open.").await?;
    becomes("all are done", 5, SOON, async || world.db.completed().await).await?;
    // A page that is loaded anew does nothing again.
    browser.run("location.reload()").await?;
    browser.shows("No dead letters are open.").await?;
    let audited = "select count(*) from mailroom.audit
                    where action = 'dead.replay' and actor = 'ollie' and reason = 'the shop is mended'";
    assert_eq!(world.db.one::<i64>(audited).await?, 5);
    Ok(())
}

async fn a_handler_is_paused_and_resumed(browser: &Browser) -> Result<()> {
    browser.click("//nav//a[text()='Handlers']").await?;
    browser.shows("running").await?;
    browser.fill("//form[contains(@action, '/pause')]//input", HOSTILE).await?;
    browser.click("//button[text()='Pause']").await?;
    browser.shows("Paused since").await?;
    browser.shows(HOSTILE).await?;
    is_unharmed(browser).await?;
    pictures_of(browser, "handlers").await?;
    browser.click("//button[text()='Resume']").await?;
    browser.shows("running").await?;
    Ok(())
}
