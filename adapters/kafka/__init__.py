"""Apache Kafka: the inbox, the publisher, the feed of events and the topics that they use."""
