//! The commands that look at messages and move them.

use anyhow::Result;
use mailroom_tests::{Manifest, Message, SOON, Setup, Shell, becomes, in_world, paths};

use crate::arrange::Scripted;

#[test]
fn a_published_message_is_listed_and_shown_and_counted() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("orders", 1).await?;
        let publish = ["outbox", "publish", "--topic", &topic, "--type", "order.placed", "--key", "ada"];
        let rest = ["--header", "tenant=north", "--payload", r#"{"order_id": "o-1"}"#];

        let said = world.mailroom(&[&publish[..], &rest[..]].concat()).await?.ok()?;

        let id = world.db.one::<String>("select id::text from mailroom.outbox").await?;
        assert!(said.contains(&id), "publish prints the id: {said}");
        let listed = world.mailroom(&["outbox", "list", "--json"]).await?.json()?;
        assert!(listed.to_string().contains(&id), "{listed}");
        let shown = world.mailroom(&["outbox", "show", &id]).await?.ok()?;
        for part in [topic.as_str(), "order.placed", "ada", "tenant", "o-1", "pending"] {
            assert!(shown.contains(part), "`{part}` is not in {shown}");
        }
        let status = world.mailroom(&["status", "--json"]).await?.json()?;
        assert!(status.is_object(), "{status}");
        let empty = world.mailroom(&[&publish[..], &["--payload", "{}"]].concat()).await?;
        assert!(!empty.stderr.contains("mailroom's own fault"), "{}", empty.stderr);
        empty.refused(2, &["payload must be a JSON object that is not empty"])?;
        Ok(())
    });
}

#[test]
fn what_messages_say_commands_no_terminal_and_begins_no_line() {
    /// Clears the screen, names the window, goes back to the line's start, turns the text round.
    const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{202e}\u{9b}31m";
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        let script = serde_json::json!({"behave": "reject", "note": HOSTILE});
        let hostile = scripted.says(&format!("k{HOSTILE}"), &script).id(&format!("m{HOSTILE}"));
        world.kafka.send(&hostile.header("event_type", HOSTILE).header("x-note", HOSTILE)).await?;
        let letters = "select count(*) from mailroom.dead_letter";
        becomes("it is dead", 1, SOON, async || world.db.one::<i64>(letters).await).await?;
        let letter = world.db.one::<String>("select id::text from mailroom.dead_letter").await?;
        let message = world.db.one::<String>("select message_id from mailroom.dead_letter").await?;
        let key = format!("k{HOSTILE}");
        let publish = [
            "outbox",
            "publish",
            "--topic",
            "t",
            "--type",
            HOSTILE,
            "--key",
            &key,
            "--payload",
            r#"{"n": 1}"#,
        ];
        let published = world.mailroom(&publish).await?.ok()?;

        for command in [
            &["inbox", "list"][..],
            &["inbox", "list", "--json"],
            &["inbox", "show", &message],
            &["dead", "list"],
            &["dead", "show", &letter],
            &["dead", "show", &letter, "--json"],
            &["dead", "edit", &letter, "--payload", HOSTILE, "--dry-run"],
            &["outbox", "list"],
            &["outbox", "show", published.trim()],
            &["why", &message],
            &["status"],
        ] {
            let said = world.mailroom(command).await?.ok()?;
            let commands = |said: char| (said.is_control() && said != '\n') || said == '\u{202e}';
            assert!(!said.contains(commands), "{command:?}: {said:?}");
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_is_not_there_is_said_with_its_exit_code() {
    in_world(Setup::default(), async |world| {
        let absent = "00000000-0000-7000-8000-000000000000";
        for noun in ["inbox", "outbox", "dead"] {
            world.mailroom(&[noun, "show", absent]).await?.refused(3, &[absent])?;
        }
        Ok(())
    });
}

#[test]
fn an_inbox_message_is_found_by_its_handler_and_by_its_id() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        let host = world.start_host("a")?;
        world.kafka.send(&scripted.emits("k", 1).id("m-1")).await?;
        becomes("it is completed", 1, SOON, async || world.db.completed().await).await?;

        let listed = world.mailroom(&["inbox", "list", "--handler", "scripted", "--json"]).await?.json()?;
        let shown = world.mailroom(&["inbox", "show", "m-1"]).await?.ok()?;
        let handlers = world.mailroom(&["handler", "list", "--json"]).await?.json()?;
        let status = world.mailroom(&["status"]).await?.ok()?;

        assert!(listed.to_string().contains("m-1"), "{listed}");
        assert!(shown.contains("completed"), "{shown}");
        assert!(handlers.to_string().contains("scripted"), "{handlers}");
        assert!(status.contains("scripted"), "{status}");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_replay_that_is_only_shown_changes_nothing() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("in", 1).await?;
        world.drop_handler("always-fails", "always-fails", &Manifest::takes(&[&topic]))?;
        let host = world.start_host("a")?;
        world.kafka.send(&Message::to(&topic).payload("x").id("m-1")).await?;
        let failed = "select count(*) from mailroom.inbox where status = 'failed'";
        becomes("it has failed", 1, SOON, async || world.db.one::<i64>(failed).await).await?;
        host.stop().await?;

        let listed = world.mailroom(&["dead", "list", "--json"]).await?.json()?;
        let shown = world.mailroom(&["dead", "replay", "--all", "--dry-run"]).await?.ok()?;

        assert!(listed.to_string().contains("m-1"), "{listed}");
        assert!(shown.contains('1'), "it says how many: {shown}");
        assert_eq!(world.db.one::<i64>(failed).await?, 1);
        let replayed = "select count(*) from mailroom.dead_letter where replayed_at is not null";
        assert_eq!(world.db.one::<i64>(replayed).await?, 0);
        Ok(())
    });
}

#[test]
fn a_discarded_message_stays_failed_and_is_no_longer_listed_as_dead() {
    in_world(Setup::default(), async |world| {
        let topic = world.kafka.topic("in", 1).await?;
        world.drop_handler("always-fails", "always-fails", &Manifest::takes(&[&topic]))?;
        let host = world.start_host("a")?;
        world.kafka.send(&Message::to(&topic).payload("x").id("m-1")).await?;
        let open = "select id::text from mailroom.dead_letter where discarded_at is null";
        becomes("it is dead", 1, SOON, async || Ok(world.db.column::<String>(open).await?.len())).await?;

        let id: String = world.db.one(open).await?;
        world.mailroom(&["dead", "discard", &id]).await?.ok()?;

        assert!(world.db.column::<String>(open).await?.is_empty());
        let listed = world.mailroom(&["dead", "list", "--json"]).await?.json()?;
        assert!(!listed.to_string().contains("m-1"), "{listed}");
        assert_eq!(world.db.one::<String>("select status from mailroom.inbox").await?, "failed");
        host.stop().await?;
        Ok(())
    });
}

#[tokio::test]
async fn a_shell_completes_commands_by_the_script_that_completion_prints() -> Result<()> {
    let shell = Shell::of(&paths::root())?;
    let completed = async |words: &str| {
        let (before, last) = words.rsplit_once(' ').unwrap_or(("", words));
        let count = words.split(' ').count() - 1;
        let line = format!(
            "bash -c 'eval \"$(mailroom completion bash)\"; COMP_WORDS=({words}); COMP_CWORD={count}; \
             _mailroom mailroom \"{last}\" \"{}\"; echo \"${{COMPREPLY[@]}}\"'",
            before.rsplit(' ').next().unwrap_or_default()
        );
        shell.ran(&line).await?.ok()
    };
    assert_eq!(completed("mailroom dead rep").await?.trim(), "replay");
    assert_eq!(completed("mailroom dead replay --dry").await?.trim(), "--dry-run");
    assert_eq!(completed("mailroom completion ba").await?.trim(), "bash");
    shell.ran("mailroom completion csh").await?.refused(2, &["possible values", "bash", "fish", "zsh"])
}

#[tokio::test]
async fn man_writes_a_page_of_each_command_into_a_folder_and_says_where_it_cannot() -> Result<()> {
    let folder = paths::target()?.join("man-pages").join(std::process::id().to_string());
    let shell = Shell::of(&paths::root())?;
    let written = shell.ran(&format!("mailroom man {}", folder.display())).await?.ok()?;
    assert_eq!(written, "");
    for page in ["mailroom.1", "mailroom-status.1", "mailroom-dead-discard.1"] {
        let text = std::fs::read_to_string(folder.join(page))?;
        assert!(text.contains(".SH SYNOPSIS") || text.contains(".SH \"SYNOPSIS\""), "{page}: {text}");
    }
    let file = folder.join("mailroom.1");
    shell.ran(&format!("mailroom man {}", file.display())).await?.refused(1, &["writing the man pages"])?;
    Ok(std::fs::remove_dir_all(folder)?)
}
