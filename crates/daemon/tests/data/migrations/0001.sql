-- Rows as a program of version 1 writes them: a deployment that succeeded, one that was rolled back,
-- one whose rollback failed, one that waits, and a service with every flag.

INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (1, '01938f3e-7c1a-7abc-8def-000000000000', 'app', 'github:0', 'succeeded', 1790000000000, 1790000000010);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000000', 1, 1790000000000, '{"kind":"requested","service":"app","tag":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","digest":null,"actor":"ci","delivery_id":"github:0","fingerprint":"f00d","rollback_to":null}', 3858112762842805871),
    ('01938f3e-7c1a-7abc-8def-000000000000', 2, 1790000000001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a1"}', -638767903387289366),
    ('01938f3e-7c1a-7abc-8def-000000000000', 3, 1790000000002, '{"kind":"image_pinned","reference":"ghcr.io/acme/shop:a1","digest":"sha256:d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1","id":"sha256:1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"}', 503413245162078848),
    ('01938f3e-7c1a-7abc-8def-000000000000', 4, 1790000000003, '{"kind":"stage_started","previous":{"container":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","condition":"healthy","restart_policy":{"name":"on-failure","retries_max":3}}}', -7198515341000685236),
    ('01938f3e-7c1a-7abc-8def-000000000000', 5, 1790000000004, '{"kind":"staged","container":"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1","name":"shop-app-1","restart_policy":{"name":"unless-stopped","retries_max":0}}', 3855666578366489721),
    ('01938f3e-7c1a-7abc-8def-000000000000', 6, 1790000000005, '{"kind":"switch_started"}', -8488406631343624429),
    ('01938f3e-7c1a-7abc-8def-000000000000', 7, 1790000000006, '{"kind":"switched","outage_ms":240}', 5789128818102283604),
    ('01938f3e-7c1a-7abc-8def-000000000000', 8, 1790000000007, '{"kind":"verify_started","checks":"health check of the image"}', 415178523388198397),
    ('01938f3e-7c1a-7abc-8def-000000000000', 9, 1790000000008, '{"kind":"committed"}', 5130588878787960380),
    ('01938f3e-7c1a-7abc-8def-000000000000', 10, 1790000000009, '{"kind":"warned","what":"the env file could not be written"}', 1745190220038974971),
    ('01938f3e-7c1a-7abc-8def-000000000000', 11, 1790000000010, '{"kind":"succeeded"}', 8149951518924595859);
INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (2, '01938f3e-7c1a-7abc-8def-000000000001', 'app', 'github:1', 'rolled_back', 1790000060000, 1790000060010);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000001', 1, 1790000060000, '{"kind":"requested","service":"app","tag":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","digest":"sha256:d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1","actor":"operator:alice","delivery_id":"github:1","fingerprint":"f00d","rollback_to":"01938f3e-7c1a-7abc-8def-000000000000"}', 8578493184918066039),
    ('01938f3e-7c1a-7abc-8def-000000000001', 2, 1790000060001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a1"}', -7793086548250398988),
    ('01938f3e-7c1a-7abc-8def-000000000001', 3, 1790000060002, '{"kind":"stage_started","previous":{"container":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","condition":"running","restart_policy":{"name":"on-failure","retries_max":3}}}', 5575194082396032387),
    ('01938f3e-7c1a-7abc-8def-000000000001', 4, 1790000060003, '{"kind":"staged","container":"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1","name":"shop-app-1","restart_policy":{"name":"unless-stopped","retries_max":0}}', -7339502650066219898),
    ('01938f3e-7c1a-7abc-8def-000000000001', 5, 1790000060004, '{"kind":"switch_started"}', 5966716098035642364),
    ('01938f3e-7c1a-7abc-8def-000000000001', 6, 1790000060005, '{"kind":"switched","outage_ms":240}', 2669684966218931416),
    ('01938f3e-7c1a-7abc-8def-000000000001', 7, 1790000060006, '{"kind":"verify_started","checks":"health check of the image"}', -5667303145877804299),
    ('01938f3e-7c1a-7abc-8def-000000000001', 8, 1790000060007, '{"kind":"recovery_started"}', -2518191949054964776),
    ('01938f3e-7c1a-7abc-8def-000000000001', 9, 1790000060008, '{"kind":"rollback_started","cause":{"code":"container_exited","step":"verify","detail":"exit code 1"},"log":["größer 🐳","","\u001b[31mred"]}', -6403831172310613352),
    ('01938f3e-7c1a-7abc-8def-000000000001', 10, 1790000060009, '{"kind":"restored","outage_ms":190}', 959523467636124371),
    ('01938f3e-7c1a-7abc-8def-000000000001', 11, 1790000060010, '{"kind":"rolled_back"}', -955052900321258385);
INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (6, '01938f3e-7c1a-7abc-8def-000000000005', 'app', 'github:5', 'rollback_failed', 1790000300000, 1790000300005);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000005', 1, 1790000300000, '{"kind":"requested","service":"app","tag":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","digest":null,"actor":"ci","delivery_id":"github:5","fingerprint":"f00d","rollback_to":null}', 1665879489632059219),
    ('01938f3e-7c1a-7abc-8def-000000000005', 2, 1790000300001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a1"}', 4282291736756631786),
    ('01938f3e-7c1a-7abc-8def-000000000005', 3, 1790000300002, '{"kind":"stage_started","previous":{"container":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","condition":"unhealthy","restart_policy":{"name":"on-failure","retries_max":3}}}', 7079446895779898265),
    ('01938f3e-7c1a-7abc-8def-000000000005', 4, 1790000300003, '{"kind":"switch_started"}', -3193663669910185106),
    ('01938f3e-7c1a-7abc-8def-000000000005', 5, 1790000300004, '{"kind":"rollback_started","cause":{"code":"switch_failed","step":"switch","detail":"it did not answer"},"log":["listening","panicked: \"no\""]}', 4194883503789527189),
    ('01938f3e-7c1a-7abc-8def-000000000005', 6, 1790000300005, '{"kind":"rollback_failed","cause":{"code":"rollback_failed","step":"roll back","detail":"no such container"},"runs":"nothing"}', -5526301794722240829);
INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (34, '01938f3e-7c1a-7abc-8def-000000000021', 'app', 'github:33', 'queued', 1790001980000, NULL);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000021', 1, 1790001980000, '{"kind":"requested","service":"app","tag":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","digest":null,"actor":"ci","delivery_id":"github:33","fingerprint":"f00d","rollback_to":null}', -3123530699618821576);
INSERT INTO services (name, paused_at, paused_why, needs_operator) VALUES
    ('app', 1790000000000, 'holiday', 'look at the disk'),
    ('web', 1790000000000, NULL, NULL);
INSERT INTO probe (only, at) VALUES (1, 1790000000000);
