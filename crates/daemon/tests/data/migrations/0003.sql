-- Rows as a program of version 3 writes them: what was seen of a container is recorded, and one delivery id is of
-- several keys and services.

INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (100, '01938f3e-7c1a-7abc-8def-000000000064', 'app', 'app' || char(10) || 'ci' || char(10) || 'github:100', 'succeeded', 1790206100000, 1790206100009);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000064', 1, 1790206100000, '{"kind":"requested","service":"app","tag":"a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3","digest":null,"actor":"ci","delivery_id":"github:100","fingerprint":"f00d","rollback_to":null}', 8188043357087788818),
    ('01938f3e-7c1a-7abc-8def-000000000064', 2, 1790206100001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a3"}', -2099791699430309744),
    ('01938f3e-7c1a-7abc-8def-000000000064', 3, 1790206100002, '{"kind":"image_pinned","reference":"ghcr.io/acme/shop:a3","digest":null,"id":"sha256:1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"}', 1379335185805869606),
    ('01938f3e-7c1a-7abc-8def-000000000064', 4, 1790206100003, '{"kind":"stage_started","old":[{"project":"shop","service":"app","number":1,"container":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","restart_policy":{"name":"always","retries_max":0},"aliases":{},"condition":"healthy"}]}', 5154217774797055739),
    ('01938f3e-7c1a-7abc-8def-000000000064', 5, 1790206100004, '{"kind":"staged","new":[{"project":"shop","service":"app","number":1,"container":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","restart_policy":{"name":"always","retries_max":0},"aliases":{},"condition":"healthy"}]}', 4028692587537522009),
    ('01938f3e-7c1a-7abc-8def-000000000064', 6, 1790206100005, '{"kind":"switch_started"}', 9080336140938554835),
    ('01938f3e-7c1a-7abc-8def-000000000064', 7, 1790206100006, '{"kind":"switched","outage_ms":300}', 8825620347366975916),
    ('01938f3e-7c1a-7abc-8def-000000000064', 8, 1790206100007, '{"kind":"verify_started","checks":"its health check for 5s within 1m"}', -3029356302832597163),
    ('01938f3e-7c1a-7abc-8def-000000000064', 9, 1790206100008, '{"kind":"committed","proof":{"checked":true,"for_ms":5000,"answered_after_ms":1800}}', 8256691167956867071),
    ('01938f3e-7c1a-7abc-8def-000000000064', 10, 1790206100009, '{"kind":"succeeded"}', 360542771770321473);

INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (101, '01938f3e-7c1a-7abc-8def-000000000065', 'app', 'app' || char(10) || 'other' || char(10) || 'github:100', 'unchanged', 1790206101000, 1790206101003);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000065', 1, 1790206101000, '{"kind":"requested","service":"app","tag":"a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3","digest":null,"actor":"other","delivery_id":"github:100","fingerprint":"f00d","rollback_to":null}', -7880157967564345242),
    ('01938f3e-7c1a-7abc-8def-000000000065', 2, 1790206101001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a3"}', 3215264045603625342),
    ('01938f3e-7c1a-7abc-8def-000000000065', 3, 1790206101002, '{"kind":"image_pinned","reference":"ghcr.io/acme/shop:a3","digest":null,"id":"sha256:1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"}', 1443249182027264803),
    ('01938f3e-7c1a-7abc-8def-000000000065', 4, 1790206101003, '{"kind":"found_unchanged","container":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","proof":{"checked":false,"for_ms":90000,"answered_after_ms":0}}', -7055614923854613359);

INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (102, '01938f3e-7c1a-7abc-8def-000000000066', 'blog', 'blog' || char(10) || 'ci' || char(10) || 'github:100', 'failed', 1790206102000, 1790206102003);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000066', 1, 1790206102000, '{"kind":"requested","service":"blog","tag":"a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3","digest":null,"actor":"ci","delivery_id":"github:100","fingerprint":"f00d","rollback_to":null}', 1572206823654022010),
    ('01938f3e-7c1a-7abc-8def-000000000066', 2, 1790206102001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a3"}', -6645295433028676899),
    ('01938f3e-7c1a-7abc-8def-000000000066', 3, 1790206102002, '{"kind":"image_pinned","reference":"ghcr.io/acme/shop:a3","digest":null,"id":"sha256:1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"}', 3152305263649413764),
    ('01938f3e-7c1a-7abc-8def-000000000066', 4, 1790206102003, '{"kind":"failed","cause":{"code":"unhealthy","step":"pull","detail":"it was not healthy in time"},"log":[]}', 2111586468120489147);

INSERT INTO deployments (number, id, service, delivery_id, status, requested_at, ended_at) VALUES
    (103, '01938f3e-7c1a-7abc-8def-000000000067', 'app', 'app' || char(10) || 'ci' || char(10) || 'github:103', 'rolled_back', 1790206103000, 1790206103010);
INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES
    ('01938f3e-7c1a-7abc-8def-000000000067', 1, 1790206103000, '{"kind":"requested","service":"app","tag":"a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3","digest":null,"actor":"ci","delivery_id":"github:103","fingerprint":"f00d","rollback_to":null}', 8556673478983809395),
    ('01938f3e-7c1a-7abc-8def-000000000067', 2, 1790206103001, '{"kind":"pull_started","reference":"ghcr.io/acme/shop:a3"}', 7747313041598721824),
    ('01938f3e-7c1a-7abc-8def-000000000067', 3, 1790206103002, '{"kind":"image_pinned","reference":"ghcr.io/acme/shop:a3","digest":null,"id":"sha256:1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d"}', 7651291433481524482),
    ('01938f3e-7c1a-7abc-8def-000000000067', 4, 1790206103003, '{"kind":"stage_started","old":[{"project":"shop","service":"app","number":1,"container":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","restart_policy":{"name":"always","retries_max":0},"aliases":{},"condition":"healthy"}]}', -7566478496160962231),
    ('01938f3e-7c1a-7abc-8def-000000000067', 5, 1790206103004, '{"kind":"staged","new":[{"project":"shop","service":"app","number":1,"container":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","name":"shop-app-1","image":"ghcr.io/acme/shop:a0","image_id":"sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d","restart_policy":{"name":"always","retries_max":0},"aliases":{},"condition":"healthy"}]}', -5086056562623635558),
    ('01938f3e-7c1a-7abc-8def-000000000067', 6, 1790206103005, '{"kind":"switch_started"}', 5558553037514685651),
    ('01938f3e-7c1a-7abc-8def-000000000067', 7, 1790206103006, '{"kind":"switched","outage_ms":300}', 8220382454488334755),
    ('01938f3e-7c1a-7abc-8def-000000000067', 8, 1790206103007, '{"kind":"verify_started","checks":"its health check for 5s within 1m"}', 1364653783478211011),
    ('01938f3e-7c1a-7abc-8def-000000000067', 9, 1790206103008, '{"kind":"rollback_started","cause":{"code":"unhealthy","step":"verify","detail":"it was not healthy in time"},"log":["no"]}', -9074685460052882419),
    ('01938f3e-7c1a-7abc-8def-000000000067', 10, 1790206103009, '{"kind":"restored","outage_ms":900}', 2701871537442226320),
    ('01938f3e-7c1a-7abc-8def-000000000067', 11, 1790206103010, '{"kind":"rolled_back","condition":"healthy","proof":{"checked":true,"for_ms":5000,"answered_after_ms":200}}', -5061575902077199844);
