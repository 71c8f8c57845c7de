//! Reads a topic from its start to its end: `cargo run --example consume -- 127.0.0.1:9092 greetings`.

use std::time::Duration;

use ottla::client::{Admin, Consumer, Start, TopicPartition, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "greetings".to_owned());

    let admin = Admin::new(&config(&servers))?;
    let mut consumer = Consumer::new(&config(&servers))?;
    let mut ends = Vec::new();
    for partition in admin.describe_topics(&[&topic]).await?.topics.iter().flat_map(|topic| &topic.partitions) {
        let partition = TopicPartition::new(topic.as_str(), partition.index);
        ends.push((partition.clone(), admin.end_offset(&partition).await?));
        consumer.assign(partition, Start::Earliest)?;
    }
    loop {
        for polled in consumer.poll(Duration::from_millis(500)).await? {
            for record in polled.records {
                let value = record.value.unwrap_or_default();
                #[expect(clippy::print_stdout, reason = "an example prints")]
                {
                    println!("{}@{}: {}", polled.partition, record.offset, String::from_utf8_lossy(&value));
                }
            }
        }
        let mut behind = false;
        for (partition, end) in &ends {
            behind |= consumer.position(partition).await.is_none_or(|position| position < *end);
        }
        if !behind {
            return Ok(());
        }
    }
}
