-- The cursor of a service's requests belongs to the service, whoever serves it: before, to the participant.

INSERT INTO consumer_offsets (consumer, topic, partition, topic_id, next_offset)
    SELECT 'participants', topic, partition, topic_id, min(next_offset) FROM consumer_offsets
    WHERE consumer LIKE 'participant:%' GROUP BY topic, partition, topic_id;
DELETE FROM consumer_offsets WHERE consumer LIKE 'participant:%';
