//! The first edition: answers each message on the topic that its header `reply-to` names, with a constant
//! that tells which edition handled it.

use mailroom_guest::{Data, Handler, Message, Outgoing, Stop, Subscription, json};

struct Edition;

impl Handler for Edition {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("editions").binary()]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let topic =
            message.header("reply-to").and_then(Data::as_text).ok_or(Stop::reject("no header `reply-to`"))?;
        let reply = json!({ "edition": 1, "in": message.message_id });
        Outgoing::json(topic, "edition", &reply)?.key_of(&message).publish()?;
        Ok(())
    }
}

mailroom_guest::export!(Edition);
