//! Writes a thousand records, and says where they went: `cargo run --example produce -- 127.0.0.1:9092 greetings`.

use std::collections::BTreeMap;

use ottla::client::{Error, ProduceRecord, Producer, config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "greetings".to_owned());

    let producer = Producer::new(&config(&servers))?;
    let mut deliveries = Vec::new();
    for number in 0..1_000 {
        let record = ProduceRecord {
            topic: topic.as_str().into(),
            key: Some(format!("visitor-{}", number % 7).into()),
            value: Some(format!("hello number {number}").into()),
            ..ProduceRecord::default()
        };
        // Waits only if buffer.memory is full: records go out in batches, in the background.
        deliveries.push(producer.enqueue(record).await?);
    }
    producer.flush().await?;

    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for delivery in deliveries {
        *counts.entry(delivery.await?.partition.to_string()).or_default() += 1;
    }
    #[expect(clippy::print_stdout, reason = "an example prints")]
    for (partition, count) in counts {
        println!("{partition}: {count} records");
    }
    Ok(())
}
