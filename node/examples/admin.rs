//! Creates a topic, looks at it, and deletes it: `cargo run --example admin -- 127.0.0.1:9092`.

use ottla::client::{Admin, Error, NewTopic, Resource, config};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example prints")]
async fn main() -> Result<(), Error> {
    let servers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let admin = Admin::new(&config(&servers))?;
    let configs = vec![("retention.ms".into(), "3600000".into())];
    admin
        .create_topic(NewTopic { name: "passing".into(), partitions: Some(3), configs, ..NewTopic::default() })
        .await?;

    for topic in admin.describe_topics(&["passing"]).await?.topics {
        println!("{} has the id {} and {} partitions", topic.name, topic.id, topic.partitions.len());
    }
    for entry in admin.describe_configs(Resource::Topic, "passing").await? {
        println!("{} = {} ({:?})", entry.name, entry.value.as_deref().unwrap_or("-"), entry.source);
    }
    admin.delete_topic("passing").await
}
