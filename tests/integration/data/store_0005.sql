UPDATE identity SET id = '0123456789ab';

INSERT INTO experiments (name, created_at) VALUES
('wine', '2026-03-01 02:00:07.250001'),
('trade-off', '2026-03-04 05:00:07.250001');

INSERT INTO runs (id, dag_id, dag_run_id, experiment, spec, digest, status, reason, triggered_by, provenance, started_at, ended_at, earlier, fingerprint) VALUES
(1, 'hpo_local', 'manual__2026-03-01T01:00:00+00:00', NULL, NULL, NULL, 'refused', 'space.lr: low must be < high, got low=0.1, high=0.01', 'ada', '{}', '2026-03-01 01:00:07.375001', '2026-03-01 01:00:07.375001', NULL, NULL),
(2, 'wine', 'scheduled__2026-03-01T01:00:00+00:00', 'wine', '{"name":"wine","description":"which is the better wine \u00b7 \u00e0 l''aveugle","objective":{"metric":"val_auc","direction":"maximize","reduce":"last"},"extra_metrics":["loss","val_loss"],"space":{"lr":{"type":"float","low":0.001,"high":1.0,"scale":"log"},"units":{"type":"int","low":16,"high":128,"scale":"linear","step":16},"optimizer":{"type":"categorical","choices":["adam","sgd"]},"momentum":{"when":{"optimizer":["sgd"]},"type":"float","low":0.0,"high":0.9,"scale":"linear"}},"fixed":{"epochs":3},"initial_points":[{"lr":0.01,"units":64,"optimizer":"adam"}],"sampler":{"name":"random","seed":7},"scheduler":{"name":"fifo"},"limits":{"max_trials":6,"parallel_trials":3,"max_failed_trials":5},"mode":"waves","trial":{"backend":"local","command":["python","train.py"],"env":{},"resources":{},"timeout":"10m"},"metrics":{"collector":"stdout"},"final":{"seeds":2,"trial":{}},"deploy":{"to":"package","options":{},"metric":"test_auc","direction":"maximize","min_improvement":0.001,"confidence":0.95,"guards":[],"approval":"none","approval_timeout":"24h"}}', '3b966421a04ada624b4c678abd7cb8fe', 'complete', 'max trials reached: 6 of 6', 'schedule', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-01 02:00:07.250001', '2026-03-01 02:03:15.750027', NULL, NULL),
(3, 'wine', 'scheduled__2026-03-02T01:00:00+00:00', 'wine', '{"name":"wine","description":"which is the better wine \u00b7 \u00e0 l''aveugle","objective":{"metric":"val_auc","direction":"maximize","reduce":"last"},"extra_metrics":["loss","val_loss"],"space":{"lr":{"type":"float","low":0.001,"high":1.0,"scale":"log"},"units":{"type":"int","low":16,"high":128,"scale":"linear","step":16},"optimizer":{"type":"categorical","choices":["adam","sgd"]},"momentum":{"when":{"optimizer":["sgd"]},"type":"float","low":0.0,"high":0.9,"scale":"linear"}},"fixed":{"epochs":3},"initial_points":[{"lr":0.01,"units":64,"optimizer":"adam"}],"sampler":{"name":"auto","seed":7},"scheduler":{"name":"fifo"},"limits":{"max_trials":4,"parallel_trials":2,"max_failed_trials":5},"mode":"waves","trial":{"backend":"local","command":["python","train.py"],"env":{},"resources":{},"timeout":"10m"},"metrics":{"collector":"stdout"},"warm_start":{"from":["wine"],"top":3,"weight":1.0,"half_life":"7d","runs":5},"final":{"seeds":2,"trial":{}},"deploy":{"to":"package","options":{},"metric":"test_auc","direction":"maximize","min_improvement":0.001,"confidence":0.95,"guards":[],"approval":"none","approval_timeout":"24h"}}', 'ce8dcb8ae1000bd17bb2cdbb451c4646', 'complete', 'max trials reached: 4 of 4', 'schedule', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-02 02:00:14.500002', '2026-03-02 02:03:01.250025', '{"runs":[{"run":2,"experiment":"wine","weight":0.905919353852522,"trials":[{"number":5,"params":{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811},"value":0.84375,"metrics":{}},{"number":1,"params":{"lr":0.01,"units":64,"optimizer":"adam"},"value":0.8125,"metrics":{}}]}],"dropped":[]}', '0000000000000000000000000000000000000000000000000000000000000001'),
(4, 'wine', 'scheduled__2026-03-03T01:00:00+00:00', 'wine', '{"name":"wine","description":"which is the better wine \u00b7 \u00e0 l''aveugle","objective":{"metric":"val_auc","direction":"maximize","reduce":"last"},"extra_metrics":["loss","val_loss"],"space":{"lr":{"type":"float","low":0.001,"high":1.0,"scale":"log"},"units":{"type":"int","low":16,"high":128,"scale":"linear","step":16},"optimizer":{"type":"categorical","choices":["adam","sgd"]},"momentum":{"when":{"optimizer":["sgd"]},"type":"float","low":0.0,"high":0.9,"scale":"linear"}},"fixed":{"epochs":3},"initial_points":[{"lr":0.01,"units":64,"optimizer":"adam"}],"sampler":{"name":"random","seed":7},"scheduler":{"name":"fifo"},"limits":{"max_trials":4,"parallel_trials":2,"max_failed_trials":5},"mode":"waves","trial":{"backend":"local","command":["python","train.py"],"env":{},"resources":{},"timeout":"10m"},"metrics":{"collector":"stdout"},"final":{"seeds":2,"trial":{}},"deploy":{"to":"package","options":{},"metric":"test_auc","direction":"maximize","min_improvement":0.001,"confidence":0.95,"guards":[],"approval":"none","approval_timeout":"24h"}}', '9b9419fb2094a8bf1d637fe3fc5c91dc', 'complete', 'max trials reached: 4 of 4', 'schedule', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-03 02:00:07.250001', '2026-03-03 02:02:54.000024', NULL, '0000000000000000000000000000000000000000000000000000000000000001'),
(5, 'wine', 'scheduled__2026-03-04T01:00:00+00:00', 'wine', '{"name":"wine","description":"which is the better wine \u00b7 \u00e0 l''aveugle","objective":{"metric":"val_auc","direction":"maximize","reduce":"last"},"extra_metrics":["loss","val_loss"],"space":{"lr":{"type":"float","low":0.001,"high":1.0,"scale":"log"},"units":{"type":"int","low":16,"high":128,"scale":"linear","step":16},"optimizer":{"type":"categorical","choices":["adam","sgd"]},"momentum":{"when":{"optimizer":["sgd"]},"type":"float","low":0.0,"high":0.9,"scale":"linear"}},"fixed":{"epochs":3},"initial_points":[{"lr":0.01,"units":64,"optimizer":"adam"}],"sampler":{"name":"random","seed":7},"scheduler":{"name":"fifo"},"limits":{"max_trials":4,"parallel_trials":2,"max_failed_trials":5},"mode":"waves","trial":{"backend":"local","command":["python","train.py"],"env":{},"resources":{},"timeout":"10m"},"metrics":{"collector":"stdout"},"final":{"seeds":2,"trial":{}},"deploy":{"to":"package","options":{},"metric":"test_auc","direction":"maximize","min_improvement":0.001,"confidence":0.95,"guards":[],"approval":"none","approval_timeout":"24h"}}', '9b9419fb2094a8bf1d637fe3fc5c91dc', 'complete', 'max trials reached: 4 of 4', 'ada', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-04 02:00:07.250001', '2026-03-04 02:00:43.500006', NULL, '0000000000000000000000000000000000000000000000000000000000000001'),
(6, 'hpo_local', 'scheduled__2026-03-04T01:00:00+00:00', 'trade-off', '{"name":"trade-off","description":"","objective":[{"metric":"val_auc","direction":"maximize","reduce":"last"},{"metric":"size","direction":"minimize","target":1.0,"reduce":"last"}],"constraints":["loss <= 0.5"],"extra_metrics":[],"space":{"x":{"type":"ordinal","choices":[1,2,4,8]},"on":{"type":"categorical","choices":[true,false]}},"fixed":{},"initial_points":[],"sampler":{"name":"grid","seed":0},"scheduler":{"name":"fifo"},"limits":{"max_trials":8,"parallel_trials":4,"max_failed_trials":1},"mode":"waves","trial":{"backend":"local","command":["true"],"env":{},"resources":{},"timeout":"1h"},"metrics":{"collector":"stdout"}}', '80f6329988579afb3cf83b0d59ba6a81', 'failed', '2 trials failed (timeout: 2), more than the 1 allowed', 'grace', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-04 05:00:07.250001', '2026-03-04 05:01:27.000012', NULL, NULL),
(7, 'wine', 'scheduled__2026-03-05T01:00:00+00:00', 'wine', '{"name":"wine","description":"which is the better wine \u00b7 \u00e0 l''aveugle","objective":{"metric":"val_auc","direction":"maximize","reduce":"last"},"extra_metrics":["loss","val_loss"],"space":{"lr":{"type":"float","low":0.001,"high":1.0,"scale":"log"},"units":{"type":"int","low":16,"high":128,"scale":"linear","step":16},"optimizer":{"type":"categorical","choices":["adam","sgd"]},"momentum":{"when":{"optimizer":["sgd"]},"type":"float","low":0.0,"high":0.9,"scale":"linear"}},"fixed":{"epochs":3},"initial_points":[{"lr":0.01,"units":64,"optimizer":"adam"}],"sampler":{"name":"bayesian","seed":11},"scheduler":{"name":"fifo"},"limits":{"max_trials":4,"parallel_trials":3,"max_failed_trials":3},"mode":"waves","trial":{"backend":"local","command":["python","train.py"],"env":{},"resources":{},"timeout":"10m"},"metrics":{"collector":"stdout"},"warm_start":{"from":["wine"],"top":2,"weight":1.0,"half_life":"7d","runs":5},"final":{"seeds":2,"trial":{}},"deploy":{"to":"package","options":{},"metric":"test_auc","direction":"maximize","min_improvement":0.001,"confidence":0.95,"guards":[],"approval":"none","approval_timeout":"24h"}}', '3debd4d148f9ee437cbf52dad80eede4', 'running', NULL, 'schedule', '{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"}', '2026-03-05 02:00:14.500002', NULL, '{"runs":[{"run":5,"experiment":"wine","weight":0.9057612935939136,"trials":[{"number":4,"params":{"lr":0.00410587358,"units":48,"optimizer":"adam"},"value":0.93125,"metrics":{}},{"number":3,"params":{"lr":0.8415901836,"units":128,"optimizer":"adam"},"value":0.9234375,"metrics":{}}]},{"run":3,"experiment":"wine","weight":0.743145325880266,"trials":[{"number":4,"params":{"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364},"value":0.8,"metrics":{}},{"number":3,"params":{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811},"value":0.78125,"metrics":{}}]},{"run":2,"experiment":"wine","weight":0.673095493121741,"trials":[{"number":5,"params":{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811},"value":0.84375,"metrics":{}},{"number":1,"params":{"lr":0.01,"units":64,"optimizer":"adam"},"value":0.8125,"metrics":{}}]}],"dropped":["run 4: not used, later runs have all of its results"]}', '0000000000000000000000000000000000000000000000000000000000000002');

INSERT INTO trials (run_id, number, params, params_hash, origin, slot, position, state, value, cause, reason, metrics, created_at, started_at, ended_at, repeat, reused_run, reused_trial) VALUES
(2, 1, '{"lr":0.01,"units":64,"optimizer":"adam"}', 'e65248c828df157d684ff90ffc726f4e', 'initial', 'wave-01', 0, 'complete', 0.8125, NULL, 'val_auc=0.8125', '{"val_auc":0.8125,"loss":0.2}', '2026-03-01 02:00:14.500002', '2026-03-01 02:00:21.750003', '2026-03-01 02:00:58.000008', 0, NULL, NULL),
(2, 2, '{"lr":0.006821986358,"units":64,"optimizer":"sgd","momentum":0.6145570423}', 'aeeb39632d7bcc75972ce0e497cd9ae8', 'sampler', 'wave-01', 1, 'failed', NULL, 'user_error', 'exit code 1: ValueError: ''lr''; "quoted"', '{}', '2026-03-01 02:00:14.500002', '2026-03-01 02:01:05.250009', '2026-03-01 02:01:12.500010', 0, NULL, NULL),
(2, 3, '{"lr":0.8415901836,"units":128,"optimizer":"adam"}', 'cdf2914794a16c66657ed4fd4eea4526', 'sampler', 'wave-01', 2, 'failed', NULL, 'objective_not_finite', 'val_auc is nan', '{"val_auc":NaN,"loss":Infinity}', '2026-03-01 02:00:14.500002', '2026-03-01 02:01:19.750011', '2026-03-01 02:01:27.000012', 0, NULL, NULL),
(2, 4, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c', 'sampler', 'wave-02', 0, 'failed', NULL, 'out_of_memory', 'killed: out of memory', '{}', '2026-03-01 02:01:34.250013', '2026-03-01 02:01:41.500014', '2026-03-01 02:01:48.750015', 0, NULL, NULL),
(2, 5, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea', 'sampler', 'wave-02', 1, 'complete', 0.84375, NULL, 'val_auc=0.8438', '{"val_auc":0.84375,"loss":0.2}', '2026-03-01 02:01:34.250013', '2026-03-01 02:01:56.000016', '2026-03-01 02:02:03.250017', 0, NULL, NULL),
(2, 6, '{"lr":0.02852305878,"units":80,"optimizer":"sgd","momentum":0.2310479008}', 'bf0897557d9bc748a10e2d0bf237596c', 'sampler', 'wave-02', 2, 'failed', NULL, 'lost', 'its Airflow task ended before it could start', '{}', '2026-03-01 02:01:34.250013', NULL, '2026-03-01 02:02:10.500018', 0, NULL, NULL),
(2, 7, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#1', 'final', 'final', 0, 'complete', 0.84, NULL, 'val_auc=0.84', '{"val_auc":0.84,"loss":0.2,"test_auc":0.8}', '2026-03-01 02:02:25.000020', '2026-03-01 02:02:39.500022', '2026-03-01 02:02:46.750023', 1, NULL, NULL),
(2, 8, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#2', 'final', 'final', 1, 'complete', 0.85, NULL, 'val_auc=0.85', '{"val_auc":0.85,"loss":0.2,"test_auc":0.81}', '2026-03-01 02:02:25.000020', '2026-03-01 02:02:54.000024', '2026-03-01 02:03:01.250025', 2, NULL, NULL),
(3, 1, '{"lr":0.01,"units":64,"optimizer":"adam"}', 'e65248c828df157d684ff90ffc726f4e', 'initial', 'wave-01', 0, 'complete', 0.75, NULL, 'val_auc=0.75', '{"val_auc":0.75,"loss":0.2}', '2026-03-02 02:00:21.750003', '2026-03-02 02:00:29.000004', '2026-03-02 02:00:36.250005', 0, NULL, NULL),
(3, 2, '{"lr":0.00664142885,"units":96,"optimizer":"adam"}', '3c2362315a48bfe2cde5a2e086ece826', 'sampler', 'wave-01', 1, 'complete', 0.765625, NULL, 'val_auc=0.7656', '{"val_auc":0.765625,"loss":0.2}', '2026-03-02 02:00:21.750003', '2026-03-02 02:00:43.500006', '2026-03-02 02:00:50.750007', 0, NULL, NULL),
(3, 3, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea', 'sampler', 'wave-02', 0, 'complete', 0.78125, NULL, 'val_auc=0.7812', '{"val_auc":0.78125,"loss":0.2}', '2026-03-02 02:00:58.000008', '2026-03-02 02:01:05.250009', '2026-03-02 02:01:12.500010', 0, NULL, NULL),
(3, 4, '{"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364}', '3f9369470f745e01e89c20e85136f344', 'sampler', 'wave-02', 1, 'complete', 0.8, NULL, 'val_auc=0.8', '{"val_auc":0.8,"loss":0.2}', '2026-03-02 02:00:58.000008', '2026-03-02 02:01:19.750011', '2026-03-02 02:01:27.000012', 0, NULL, NULL),
(3, 5, '{"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364}', '3f9369470f745e01e89c20e85136f344#1', 'final', 'final', 0, 'complete', 0.7, NULL, 'val_auc=0.7', '{"val_auc":0.7,"loss":0.2,"test_auc":0.7}', '2026-03-02 02:01:41.500014', '2026-03-02 02:01:56.000016', '2026-03-02 02:02:03.250017', 1, NULL, NULL),
(3, 6, '{"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364}', '3f9369470f745e01e89c20e85136f344#2', 'final', 'final', 1, 'complete', 0.71, NULL, 'val_auc=0.71', '{"val_auc":0.71,"loss":0.2,"test_auc":0.71}', '2026-03-02 02:01:41.500014', '2026-03-02 02:02:10.500018', '2026-03-02 02:02:17.750019', 2, NULL, NULL),
(3, 7, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#1', 'final', 'final', 2, 'complete', 0.79, NULL, 'val_auc=0.79', '{"val_auc":0.79,"loss":0.2,"test_auc":0.79}', '2026-03-02 02:01:41.500014', '2026-03-02 02:02:25.000020', '2026-03-02 02:02:32.250021', 1, NULL, NULL),
(3, 8, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#2', 'final', 'final', 3, 'complete', 0.8, NULL, 'val_auc=0.8', '{"val_auc":0.8,"loss":0.2,"test_auc":0.8}', '2026-03-02 02:01:41.500014', '2026-03-02 02:02:39.500022', '2026-03-02 02:02:46.750023', 2, NULL, NULL),
(4, 1, '{"lr":0.01,"units":64,"optimizer":"adam"}', 'e65248c828df157d684ff90ffc726f4e', 'initial', 'wave-01', 0, 'complete', 0.75, NULL, 'reused from trial 1 of run 3', '{"val_auc":0.75,"loss":0.2}', '2026-03-03 02:00:14.500002', NULL, '2026-03-03 02:00:14.500002', 0, 3, 1),
(4, 2, '{"lr":0.006821986358,"units":64,"optimizer":"sgd","momentum":0.6145570423}', 'aeeb39632d7bcc75972ce0e497cd9ae8', 'sampler', 'wave-01', 1, 'complete', 0.9, NULL, 'val_auc=0.9', '{"val_auc":0.9,"loss":0.2}', '2026-03-03 02:00:14.500002', '2026-03-03 02:00:21.750003', '2026-03-03 02:00:29.000004', 0, NULL, NULL),
(4, 3, '{"lr":0.8415901836,"units":128,"optimizer":"adam"}', 'cdf2914794a16c66657ed4fd4eea4526', 'sampler', 'wave-02', 0, 'complete', 0.9234375, NULL, 'val_auc=0.9234', '{"val_auc":0.9234375,"loss":0.2}', '2026-03-03 02:00:36.250005', '2026-03-03 02:00:43.500006', '2026-03-03 02:00:50.750007', 0, NULL, NULL),
(4, 4, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c', 'sampler', 'wave-02', 1, 'complete', 0.93125, NULL, 'val_auc=0.9313', '{"val_auc":0.93125,"loss":0.2}', '2026-03-03 02:00:36.250005', '2026-03-03 02:00:58.000008', '2026-03-03 02:01:05.250009', 0, NULL, NULL),
(4, 5, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c#1', 'final', 'final', 0, 'complete', 0.9, NULL, 'val_auc=0.9', '{"val_auc":0.9,"loss":0.2,"test_auc":0.9}', '2026-03-03 02:01:27.000012', '2026-03-03 02:01:41.500014', '2026-03-03 02:01:48.750015', 1, NULL, NULL),
(4, 6, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c#2', 'final', 'final', 1, 'complete', 0.91, NULL, 'val_auc=0.91', '{"val_auc":0.91,"loss":0.2,"test_auc":0.91}', '2026-03-03 02:01:27.000012', '2026-03-03 02:01:56.000016', '2026-03-03 02:02:03.250017', 2, NULL, NULL),
(4, 7, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#1', 'final', 'final', 2, 'complete', 0.78, NULL, 'val_auc=0.78', '{"val_auc":0.78,"loss":0.2,"test_auc":0.78}', '2026-03-03 02:01:27.000012', '2026-03-03 02:02:10.500018', '2026-03-03 02:02:17.750019', 1, NULL, NULL),
(4, 8, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', '18d94d242ef7afad798cd2e1ebe7abea#2', 'final', 'final', 3, 'complete', 0.79, NULL, 'val_auc=0.79', '{"val_auc":0.79,"loss":0.2,"test_auc":0.79}', '2026-03-03 02:01:27.000012', '2026-03-03 02:02:25.000020', '2026-03-03 02:02:32.250021', 2, NULL, NULL),
(5, 1, '{"lr":0.01,"units":64,"optimizer":"adam"}', 'e65248c828df157d684ff90ffc726f4e', 'initial', 'wave-01', 0, 'complete', 0.75, NULL, 'reused from trial 1 of run 3', '{"val_auc":0.75,"loss":0.2}', '2026-03-04 02:00:14.500002', NULL, '2026-03-04 02:00:14.500002', 0, 3, 1),
(5, 2, '{"lr":0.006821986358,"units":64,"optimizer":"sgd","momentum":0.6145570423}', 'aeeb39632d7bcc75972ce0e497cd9ae8', 'sampler', 'wave-01', 1, 'complete', 0.9, NULL, 'reused from trial 2 of run 4', '{"val_auc":0.9,"loss":0.2}', '2026-03-04 02:00:14.500002', NULL, '2026-03-04 02:00:14.500002', 0, 4, 2),
(5, 3, '{"lr":0.8415901836,"units":128,"optimizer":"adam"}', 'cdf2914794a16c66657ed4fd4eea4526', 'sampler', 'wave-02', 0, 'complete', 0.9234375, NULL, 'reused from trial 3 of run 4', '{"val_auc":0.9234375,"loss":0.2}', '2026-03-04 02:00:21.750003', NULL, '2026-03-04 02:00:21.750003', 0, 4, 3),
(5, 4, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c', 'sampler', 'wave-02', 1, 'complete', 0.93125, NULL, 'reused from trial 4 of run 4', '{"val_auc":0.93125,"loss":0.2}', '2026-03-04 02:00:21.750003', NULL, '2026-03-04 02:00:21.750003', 0, 4, 4),
(6, 1, '{"x":1,"on":true}', '9bfb3cfa1657b0010d130eed4b46fa2c', 'sampler', 'wave-01', 0, 'complete', 0.5, NULL, 'val_auc=0.5', '{"val_auc":0.5,"loss":0.2,"size":3.0}', '2026-03-04 05:00:14.500002', '2026-03-04 05:00:21.750003', '2026-03-04 05:00:29.000004', 0, NULL, NULL),
(6, 2, '{"x":1,"on":false}', '4e672edaae804b6953e96cdd1d73158e', 'sampler', 'wave-01', 1, 'complete', 0.75, NULL, 'val_auc=0.75', '{"val_auc":0.75,"loss":0.75,"size":4.0}', '2026-03-04 05:00:14.500002', '2026-03-04 05:00:36.250005', '2026-03-04 05:00:43.500006', 0, NULL, NULL),
(6, 3, '{"x":2,"on":true}', '94941e3799e80065c7eeb960b20bf90c', 'sampler', 'wave-01', 2, 'failed', NULL, 'timeout', 'not done after 2 h', '{}', '2026-03-04 05:00:14.500002', '2026-03-04 05:00:50.750007', '2026-03-04 05:00:58.000008', 0, NULL, NULL),
(6, 4, '{"x":2,"on":false}', '84c7fffcd054622d3dea66d6fbb0aa63', 'sampler', 'wave-01', 3, 'failed', NULL, 'timeout', 'not done after 2 h', '{}', '2026-03-04 05:00:14.500002', '2026-03-04 05:01:05.250009', '2026-03-04 05:01:12.500010', 0, NULL, NULL),
(7, 1, '{"lr":0.01,"units":64,"optimizer":"adam"}', 'e65248c828df157d684ff90ffc726f4e', 'initial', 'wave-01', 0, 'complete', 0.8, NULL, 'val_auc=0.8', '{"val_auc":0.8,"loss":0.2}', '2026-03-05 02:00:21.750003', '2026-03-05 02:00:29.000004', '2026-03-05 02:00:36.250005', 0, NULL, NULL),
(7, 2, '{"lr":0.007276495312,"units":48,"optimizer":"adam"}', 'f6fa25ea293bf59093fa9e8fd9189874', 'sampler', 'wave-01', 1, 'running', NULL, NULL, NULL, '{}', '2026-03-05 02:00:21.750003', '2026-03-05 02:00:43.500006', NULL, 0, NULL, NULL),
(7, 3, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 'f48547c033c3823a8c65983e0f18e89c', 'sampler', 'wave-01', 2, 'running', NULL, NULL, NULL, '{}', '2026-03-05 02:00:21.750003', NULL, NULL, 0, NULL, NULL);

INSERT INTO attempts (id, run_id, trial, number, handle, state, cause, reason, exit_code, started_at, ended_at, log_tail) VALUES
(1, 2, 1, 1, '{"folder":"runs/000002-wine/trial-0001/attempt-1","pid":4011}', 'failed', 'preempted', 'its node was taken away', NULL, '2026-03-01 02:00:21.750003', '2026-03-01 02:00:29.000004', ''),
(2, 2, 1, 2, '{"folder":"runs/000002-wine/trial-0001/attempt-2","pid":4012}', 'failed', 'stopped', 'its Airflow task was cleared', NULL, '2026-03-01 02:00:36.250005', '2026-03-01 02:00:43.500006', ''),
(3, 2, 1, 3, '{"folder":"runs/000002-wine/trial-0001/attempt-3","pid":4013}', 'succeeded', NULL, 'val_auc=0.8125', 0, '2026-03-01 02:00:50.750007', '2026-03-01 02:00:58.000008', 'epoch 3/3
val_auc=0.8125
'),
(4, 2, 2, 1, '{"folder":"runs/000002-wine/trial-0002/attempt-1","pid":4021}', 'failed', 'user_error', 'exit code 1: ValueError: ''lr''; "quoted"', 1, '2026-03-01 02:01:05.250009', '2026-03-01 02:01:12.500010', 'Traceback
  ValueError: it''s wrong; -- \n
'),
(5, 2, 3, 1, '{"folder":"runs/000002-wine/trial-0003/attempt-1","pid":4031}', 'failed', 'objective_not_finite', 'val_auc is nan', 0, '2026-03-01 02:01:19.750011', '2026-03-01 02:01:27.000012', ''),
(6, 2, 4, 1, '{"folder":"runs/000002-wine/trial-0004/attempt-1","pid":4041}', 'failed', 'out_of_memory', 'killed: out of memory', 137, '2026-03-01 02:01:41.500014', '2026-03-01 02:01:48.750015', ''),
(7, 2, 5, 1, '{"folder":"runs/000002-wine/trial-0005/attempt-1","pid":4051}', 'succeeded', NULL, 'val_auc=0.8438', 0, '2026-03-01 02:01:56.000016', '2026-03-01 02:02:03.250017', 'epoch 3/3
val_auc=0.84375
'),
(8, 2, 7, 1, '{"folder":"runs/000002-wine/trial-0007/attempt-1","pid":4071}', 'succeeded', NULL, 'val_auc=0.84', 0, '2026-03-01 02:02:39.500022', '2026-03-01 02:02:46.750023', 'epoch 3/3
val_auc=0.84
'),
(9, 2, 8, 1, '{"folder":"runs/000002-wine/trial-0008/attempt-1","pid":4081}', 'succeeded', NULL, 'val_auc=0.85', 0, '2026-03-01 02:02:54.000024', '2026-03-01 02:03:01.250025', 'epoch 3/3
val_auc=0.85
'),
(10, 3, 1, 1, '{"folder":"runs/000003-wine/trial-0001/attempt-1","pid":4011}', 'succeeded', NULL, 'val_auc=0.75', 0, '2026-03-02 02:00:29.000004', '2026-03-02 02:00:36.250005', 'epoch 3/3
val_auc=0.75
'),
(11, 3, 2, 1, '{"folder":"runs/000003-wine/trial-0002/attempt-1","pid":4021}', 'succeeded', NULL, 'val_auc=0.7656', 0, '2026-03-02 02:00:43.500006', '2026-03-02 02:00:50.750007', 'epoch 3/3
val_auc=0.765625
'),
(12, 3, 3, 1, '{"folder":"runs/000003-wine/trial-0003/attempt-1","pid":4031}', 'succeeded', NULL, 'val_auc=0.7812', 0, '2026-03-02 02:01:05.250009', '2026-03-02 02:01:12.500010', 'epoch 3/3
val_auc=0.78125
'),
(13, 3, 4, 1, '{"folder":"runs/000003-wine/trial-0004/attempt-1","pid":4041}', 'succeeded', NULL, 'val_auc=0.8', 0, '2026-03-02 02:01:19.750011', '2026-03-02 02:01:27.000012', 'epoch 3/3
val_auc=0.8
'),
(14, 3, 5, 1, '{"folder":"runs/000003-wine/trial-0005/attempt-1","pid":4051}', 'succeeded', NULL, 'val_auc=0.7', 0, '2026-03-02 02:01:56.000016', '2026-03-02 02:02:03.250017', 'epoch 3/3
val_auc=0.7
'),
(15, 3, 6, 1, '{"folder":"runs/000003-wine/trial-0006/attempt-1","pid":4061}', 'succeeded', NULL, 'val_auc=0.71', 0, '2026-03-02 02:02:10.500018', '2026-03-02 02:02:17.750019', 'epoch 3/3
val_auc=0.71
'),
(16, 3, 7, 1, '{"folder":"runs/000003-wine/trial-0007/attempt-1","pid":4071}', 'succeeded', NULL, 'val_auc=0.79', 0, '2026-03-02 02:02:25.000020', '2026-03-02 02:02:32.250021', 'epoch 3/3
val_auc=0.79
'),
(17, 3, 8, 1, '{"folder":"runs/000003-wine/trial-0008/attempt-1","pid":4081}', 'succeeded', NULL, 'val_auc=0.8', 0, '2026-03-02 02:02:39.500022', '2026-03-02 02:02:46.750023', 'epoch 3/3
val_auc=0.8
'),
(18, 4, 2, 1, '{"folder":"runs/000004-wine/trial-0002/attempt-1","pid":4021}', 'succeeded', NULL, 'val_auc=0.9', 0, '2026-03-03 02:00:21.750003', '2026-03-03 02:00:29.000004', 'epoch 3/3
val_auc=0.9
'),
(19, 4, 3, 1, '{"folder":"runs/000004-wine/trial-0003/attempt-1","pid":4031}', 'succeeded', NULL, 'val_auc=0.9234', 0, '2026-03-03 02:00:43.500006', '2026-03-03 02:00:50.750007', 'epoch 3/3
val_auc=0.9234375
'),
(20, 4, 4, 1, '{"folder":"runs/000004-wine/trial-0004/attempt-1","pid":4041}', 'succeeded', NULL, 'val_auc=0.9313', 0, '2026-03-03 02:00:58.000008', '2026-03-03 02:01:05.250009', 'epoch 3/3
val_auc=0.93125
'),
(21, 4, 5, 1, '{"folder":"runs/000004-wine/trial-0005/attempt-1","pid":4051}', 'succeeded', NULL, 'val_auc=0.9', 0, '2026-03-03 02:01:41.500014', '2026-03-03 02:01:48.750015', 'epoch 3/3
val_auc=0.9
'),
(22, 4, 6, 1, '{"folder":"runs/000004-wine/trial-0006/attempt-1","pid":4061}', 'succeeded', NULL, 'val_auc=0.91', 0, '2026-03-03 02:01:56.000016', '2026-03-03 02:02:03.250017', 'epoch 3/3
val_auc=0.91
'),
(23, 4, 7, 1, '{"folder":"runs/000004-wine/trial-0007/attempt-1","pid":4071}', 'succeeded', NULL, 'val_auc=0.78', 0, '2026-03-03 02:02:10.500018', '2026-03-03 02:02:17.750019', 'epoch 3/3
val_auc=0.78
'),
(24, 4, 8, 1, '{"folder":"runs/000004-wine/trial-0008/attempt-1","pid":4081}', 'succeeded', NULL, 'val_auc=0.79', 0, '2026-03-03 02:02:25.000020', '2026-03-03 02:02:32.250021', 'epoch 3/3
val_auc=0.79
'),
(25, 6, 1, 1, '{"folder":"runs/000006-trade-off/trial-0001/attempt-1","pid":4011}', 'succeeded', NULL, 'val_auc=0.5', 0, '2026-03-04 05:00:21.750003', '2026-03-04 05:00:29.000004', 'epoch 3/3
val_auc=0.5
'),
(26, 6, 2, 1, '{"folder":"runs/000006-trade-off/trial-0002/attempt-1","pid":4021}', 'succeeded', NULL, 'val_auc=0.75', 0, '2026-03-04 05:00:36.250005', '2026-03-04 05:00:43.500006', 'epoch 3/3
val_auc=0.75
'),
(27, 6, 3, 1, '{"folder":"runs/000006-trade-off/trial-0003/attempt-1","pid":4031}', 'failed', 'timeout', 'not done after 2 h', -9, '2026-03-04 05:00:50.750007', '2026-03-04 05:00:58.000008', ''),
(28, 6, 4, 1, '{"folder":"runs/000006-trade-off/trial-0004/attempt-1","pid":4041}', 'failed', 'timeout', 'not done after 2 h', -9, '2026-03-04 05:01:05.250009', '2026-03-04 05:01:12.500010', ''),
(29, 7, 1, 1, '{"folder":"runs/000007-wine/trial-0001/attempt-1","pid":4011}', 'succeeded', NULL, 'val_auc=0.8', 0, '2026-03-05 02:00:29.000004', '2026-03-05 02:00:36.250005', 'epoch 3/3
val_auc=0.8
'),
(30, 7, 2, 1, '{"folder":"runs/000007-wine/trial-0002/attempt-1","pid":4021}', 'failed', 'node_lost', 'its node is gone', NULL, '2026-03-05 02:00:43.500006', '2026-03-05 02:00:50.750007', ''),
(31, 7, 2, 2, '{"folder":"runs/000007-wine/trial-0002/attempt-2","pid":4022}', 'running', NULL, NULL, NULL, '2026-03-05 02:00:58.000008', NULL, '');

INSERT INTO observations (attempt_id, position, metric, step, value, time) VALUES
(1, 0, 'val_auc', 1, 0.6, NULL),
(3, 0, 'val_auc', 1, 0.7925, 1772300001.5),
(3, 1, 'loss', 1, 0.3333333333333333, NULL),
(3, 2, 'val_auc', 2, 0.8025, 1772300002.5),
(3, 3, 'loss', 2, 0.25, NULL),
(3, 4, 'val_auc', 3, 0.8125, 1772300003.5),
(3, 5, 'loss', 3, 0.2, NULL),
(3, 6, 'size', NULL, 12.0, NULL),
(5, 0, 'val_auc', 1, 0.5, NULL),
(5, 1, 'val_auc', 2, NULL, NULL),
(5, 2, 'loss', NULL, NULL, NULL),
(7, 0, 'val_auc', 1, 0.82375, 1772300001.5),
(7, 1, 'loss', 1, 0.3333333333333333, NULL),
(7, 2, 'val_auc', 2, 0.83375, 1772300002.5),
(7, 3, 'loss', 2, 0.25, NULL),
(7, 4, 'val_auc', 3, 0.84375, 1772300003.5),
(7, 5, 'loss', 3, 0.2, NULL),
(7, 6, 'size', NULL, 12.0, NULL),
(8, 0, 'val_auc', 1, 0.82, 1772300001.5),
(8, 1, 'loss', 1, 0.3333333333333333, NULL),
(8, 2, 'val_auc', 2, 0.83, 1772300002.5),
(8, 3, 'loss', 2, 0.25, NULL),
(8, 4, 'val_auc', 3, 0.84, 1772300003.5),
(8, 5, 'loss', 3, 0.2, NULL),
(8, 6, 'size', NULL, 12.0, NULL),
(9, 0, 'val_auc', 1, 0.83, 1772300001.5),
(9, 1, 'loss', 1, 0.3333333333333333, NULL),
(9, 2, 'val_auc', 2, 0.84, 1772300002.5),
(9, 3, 'loss', 2, 0.25, NULL),
(9, 4, 'val_auc', 3, 0.85, 1772300003.5),
(9, 5, 'loss', 3, 0.2, NULL),
(9, 6, 'size', NULL, 12.0, NULL),
(10, 0, 'val_auc', 1, 0.73, 1772300001.5),
(10, 1, 'loss', 1, 0.3333333333333333, NULL),
(10, 2, 'val_auc', 2, 0.74, 1772300002.5),
(10, 3, 'loss', 2, 0.25, NULL),
(10, 4, 'val_auc', 3, 0.75, 1772300003.5),
(10, 5, 'loss', 3, 0.2, NULL),
(10, 6, 'size', NULL, 12.0, NULL),
(11, 0, 'val_auc', 1, 0.745625, 1772300001.5),
(11, 1, 'loss', 1, 0.3333333333333333, NULL),
(11, 2, 'val_auc', 2, 0.755625, 1772300002.5),
(11, 3, 'loss', 2, 0.25, NULL),
(11, 4, 'val_auc', 3, 0.765625, 1772300003.5),
(11, 5, 'loss', 3, 0.2, NULL),
(11, 6, 'size', NULL, 12.0, NULL),
(12, 0, 'val_auc', 1, 0.76125, 1772300001.5),
(12, 1, 'loss', 1, 0.3333333333333333, NULL),
(12, 2, 'val_auc', 2, 0.77125, 1772300002.5),
(12, 3, 'loss', 2, 0.25, NULL),
(12, 4, 'val_auc', 3, 0.78125, 1772300003.5),
(12, 5, 'loss', 3, 0.2, NULL),
(12, 6, 'size', NULL, 12.0, NULL),
(13, 0, 'val_auc', 1, 0.78, 1772300001.5),
(13, 1, 'loss', 1, 0.3333333333333333, NULL),
(13, 2, 'val_auc', 2, 0.79, 1772300002.5),
(13, 3, 'loss', 2, 0.25, NULL),
(13, 4, 'val_auc', 3, 0.8, 1772300003.5),
(13, 5, 'loss', 3, 0.2, NULL),
(13, 6, 'size', NULL, 12.0, NULL),
(14, 0, 'val_auc', 1, 0.6799999999999999, 1772300001.5),
(14, 1, 'loss', 1, 0.3333333333333333, NULL),
(14, 2, 'val_auc', 2, 0.69, 1772300002.5),
(14, 3, 'loss', 2, 0.25, NULL),
(14, 4, 'val_auc', 3, 0.7, 1772300003.5),
(14, 5, 'loss', 3, 0.2, NULL),
(14, 6, 'size', NULL, 12.0, NULL),
(15, 0, 'val_auc', 1, 0.69, 1772300001.5),
(15, 1, 'loss', 1, 0.3333333333333333, NULL),
(15, 2, 'val_auc', 2, 0.7, 1772300002.5),
(15, 3, 'loss', 2, 0.25, NULL),
(15, 4, 'val_auc', 3, 0.71, 1772300003.5),
(15, 5, 'loss', 3, 0.2, NULL),
(15, 6, 'size', NULL, 12.0, NULL),
(16, 0, 'val_auc', 1, 0.77, 1772300001.5),
(16, 1, 'loss', 1, 0.3333333333333333, NULL),
(16, 2, 'val_auc', 2, 0.78, 1772300002.5),
(16, 3, 'loss', 2, 0.25, NULL),
(16, 4, 'val_auc', 3, 0.79, 1772300003.5),
(16, 5, 'loss', 3, 0.2, NULL),
(16, 6, 'size', NULL, 12.0, NULL),
(17, 0, 'val_auc', 1, 0.78, 1772300001.5),
(17, 1, 'loss', 1, 0.3333333333333333, NULL),
(17, 2, 'val_auc', 2, 0.79, 1772300002.5),
(17, 3, 'loss', 2, 0.25, NULL),
(17, 4, 'val_auc', 3, 0.8, 1772300003.5),
(17, 5, 'loss', 3, 0.2, NULL),
(17, 6, 'size', NULL, 12.0, NULL),
(18, 0, 'val_auc', 1, 0.88, 1772300001.5),
(18, 1, 'loss', 1, 0.3333333333333333, NULL),
(18, 2, 'val_auc', 2, 0.89, 1772300002.5),
(18, 3, 'loss', 2, 0.25, NULL),
(18, 4, 'val_auc', 3, 0.9, 1772300003.5),
(18, 5, 'loss', 3, 0.2, NULL),
(18, 6, 'size', NULL, 12.0, NULL),
(19, 0, 'val_auc', 1, 0.9034375, 1772300001.5),
(19, 1, 'loss', 1, 0.3333333333333333, NULL),
(19, 2, 'val_auc', 2, 0.9134375, 1772300002.5),
(19, 3, 'loss', 2, 0.25, NULL),
(19, 4, 'val_auc', 3, 0.9234375, 1772300003.5),
(19, 5, 'loss', 3, 0.2, NULL),
(19, 6, 'size', NULL, 12.0, NULL),
(20, 0, 'val_auc', 1, 0.91125, 1772300001.5),
(20, 1, 'loss', 1, 0.3333333333333333, NULL),
(20, 2, 'val_auc', 2, 0.92125, 1772300002.5),
(20, 3, 'loss', 2, 0.25, NULL),
(20, 4, 'val_auc', 3, 0.93125, 1772300003.5),
(20, 5, 'loss', 3, 0.2, NULL),
(20, 6, 'size', NULL, 12.0, NULL),
(21, 0, 'val_auc', 1, 0.88, 1772300001.5),
(21, 1, 'loss', 1, 0.3333333333333333, NULL),
(21, 2, 'val_auc', 2, 0.89, 1772300002.5),
(21, 3, 'loss', 2, 0.25, NULL),
(21, 4, 'val_auc', 3, 0.9, 1772300003.5),
(21, 5, 'loss', 3, 0.2, NULL),
(21, 6, 'size', NULL, 12.0, NULL),
(22, 0, 'val_auc', 1, 0.89, 1772300001.5),
(22, 1, 'loss', 1, 0.3333333333333333, NULL),
(22, 2, 'val_auc', 2, 0.9, 1772300002.5),
(22, 3, 'loss', 2, 0.25, NULL),
(22, 4, 'val_auc', 3, 0.91, 1772300003.5),
(22, 5, 'loss', 3, 0.2, NULL),
(22, 6, 'size', NULL, 12.0, NULL),
(23, 0, 'val_auc', 1, 0.76, 1772300001.5),
(23, 1, 'loss', 1, 0.3333333333333333, NULL),
(23, 2, 'val_auc', 2, 0.77, 1772300002.5),
(23, 3, 'loss', 2, 0.25, NULL),
(23, 4, 'val_auc', 3, 0.78, 1772300003.5),
(23, 5, 'loss', 3, 0.2, NULL),
(23, 6, 'size', NULL, 12.0, NULL),
(24, 0, 'val_auc', 1, 0.77, 1772300001.5),
(24, 1, 'loss', 1, 0.3333333333333333, NULL),
(24, 2, 'val_auc', 2, 0.78, 1772300002.5),
(24, 3, 'loss', 2, 0.25, NULL),
(24, 4, 'val_auc', 3, 0.79, 1772300003.5),
(24, 5, 'loss', 3, 0.2, NULL),
(24, 6, 'size', NULL, 12.0, NULL),
(25, 0, 'val_auc', 1, 0.48, 1772300001.5),
(25, 1, 'loss', 1, 0.3333333333333333, NULL),
(25, 2, 'val_auc', 2, 0.49, 1772300002.5),
(25, 3, 'loss', 2, 0.25, NULL),
(25, 4, 'val_auc', 3, 0.5, 1772300003.5),
(25, 5, 'loss', 3, 0.2, NULL),
(25, 6, 'size', NULL, 12.0, NULL),
(26, 0, 'val_auc', 1, 0.73, 1772300001.5),
(26, 1, 'loss', 1, 0.3333333333333333, NULL),
(26, 2, 'val_auc', 2, 0.74, 1772300002.5),
(26, 3, 'loss', 2, 0.25, NULL),
(26, 4, 'val_auc', 3, 0.75, 1772300003.5),
(26, 5, 'loss', 3, 0.2, NULL),
(26, 6, 'size', NULL, 12.0, NULL),
(29, 0, 'val_auc', 1, 0.78, 1772300001.5),
(29, 1, 'loss', 1, 0.3333333333333333, NULL),
(29, 2, 'val_auc', 2, 0.79, 1772300002.5),
(29, 3, 'loss', 2, 0.25, NULL),
(29, 4, 'val_auc', 3, 0.8, 1772300003.5),
(29, 5, 'loss', 3, 0.2, NULL),
(29, 6, 'size', NULL, 12.0, NULL);

INSERT INTO leases (id, run_id, slot, position, trial, resource, resume_from, action, reason, failed, created_at) VALUES
(1, 2, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:00:14.500002'),
(2, 2, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:00:14.500002'),
(3, 2, 'wave-01', 2, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:00:14.500002'),
(4, 2, 'wave-02', 0, 4, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:01:34.250013'),
(5, 2, 'wave-02', 1, 5, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:01:34.250013'),
(6, 2, 'wave-02', 2, 6, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:01:34.250013'),
(7, 2, 'wave-03', 0, NULL, NULL, NULL, 'stop', 'max trials reached: 6 of 6', FALSE, '2026-03-01 02:02:17.750019'),
(8, 2, 'final', 0, 7, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:02:25.000020'),
(9, 2, 'final', 1, 8, NULL, NULL, NULL, NULL, NULL, '2026-03-01 02:02:25.000020'),
(10, 3, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:00:21.750003'),
(11, 3, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:00:21.750003'),
(12, 3, 'wave-02', 0, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:00:58.000008'),
(13, 3, 'wave-02', 1, 4, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:00:58.000008'),
(14, 3, 'wave-03', 0, NULL, NULL, NULL, 'stop', 'max trials reached: 4 of 4', FALSE, '2026-03-02 02:01:34.250013'),
(15, 3, 'final', 0, 5, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:01:41.500014'),
(16, 3, 'final', 1, 6, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:01:41.500014'),
(17, 3, 'final', 2, 7, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:01:41.500014'),
(18, 3, 'final', 3, 8, NULL, NULL, NULL, NULL, NULL, '2026-03-02 02:01:41.500014'),
(19, 4, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:00:14.500002'),
(20, 4, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:00:14.500002'),
(21, 4, 'wave-02', 0, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:00:36.250005'),
(22, 4, 'wave-02', 1, 4, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:00:36.250005'),
(23, 4, 'wave-03', 0, NULL, NULL, NULL, 'stop', 'max trials reached: 4 of 4', FALSE, '2026-03-03 02:01:19.750011'),
(24, 4, 'final', 0, 5, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:01:27.000012'),
(25, 4, 'final', 1, 6, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:01:27.000012'),
(26, 4, 'final', 2, 7, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:01:27.000012'),
(27, 4, 'final', 3, 8, NULL, NULL, NULL, NULL, NULL, '2026-03-03 02:01:27.000012'),
(28, 5, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-04 02:00:14.500002'),
(29, 5, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-04 02:00:14.500002'),
(30, 5, 'wave-02', 0, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-04 02:00:21.750003'),
(31, 5, 'wave-02', 1, 4, NULL, NULL, NULL, NULL, NULL, '2026-03-04 02:00:21.750003'),
(32, 5, 'wave-03', 0, NULL, NULL, NULL, 'stop', 'max trials reached: 4 of 4', FALSE, '2026-03-04 02:00:29.000004'),
(33, 5, 'final', 0, NULL, NULL, NULL, 'stop', 'trial 4, the best, has the champion''s own configuration: the champion stays', FALSE, '2026-03-04 02:00:36.250005'),
(34, 6, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-04 05:00:14.500002'),
(35, 6, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-04 05:00:14.500002'),
(36, 6, 'wave-01', 2, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-04 05:00:14.500002'),
(37, 6, 'wave-01', 3, 4, NULL, NULL, NULL, NULL, NULL, '2026-03-04 05:00:14.500002'),
(38, 6, 'wave-02', 0, NULL, NULL, NULL, 'stop', 'failure budget spent: 2 failed (timeout 2), limits.max_failed_trials is 1', TRUE, '2026-03-04 05:01:19.750011'),
(39, 7, 'wave-01', 0, 1, NULL, NULL, NULL, NULL, NULL, '2026-03-05 02:00:21.750003'),
(40, 7, 'wave-01', 1, 2, NULL, NULL, NULL, NULL, NULL, '2026-03-05 02:00:21.750003'),
(41, 7, 'wave-01', 2, 3, NULL, NULL, NULL, NULL, NULL, '2026-03-05 02:00:21.750003');

INSERT INTO models (experiment, version, run_id, source, params, against, trial, files, metrics, manifest, verdict, served, status, reason, created_at, changed_at) VALUES
('wine', 1, 2, 5, '{"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811}', NULL, 8, 'runs/000002-wine/trial-0008/attempt-1/output/model', '{"val_auc":0.85,"loss":0.2,"test_auc":0.81}', '{"experiment":"wine","run":2,"dag_run":"scheduled__2026-03-01T01:00:00+00:00","trial":8,"params":{"epochs":3,"lr":0.001140269487,"units":96,"optimizer":"sgd","momentum":0.4140354811},"metrics":{"val_auc":0.85,"loss":0.2,"test_auc":0.81},"image":null,"versions":{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"},"program":{"command":["python","train.py"],"args":[],"image":"","env":{},"fixed":{"epochs":3},"options":"","versions":{"keras":"3.15.0"}},"training":{"data":{"fingerprint":"data of 1000 rows","rows":1000,"classes":{"good":0.4,"bad":0.6},"features":{"acid":{"mean":10.0,"std":2.0,"missing":0.01}}},"versions":{"keras":"3.15.0"}},"scores":{"metric":"test_auc","values":[0.8,0.81]}}', '{"promote":true,"reason":"Promoted: the challenger''s test_auc is 0.805 over 2 seeds, and there is no champion to compare it with.","improvement":null,"error":null,"broken":[],"nights":[{"run":3,"time":"2026-03-02T02:00:14.500002+00:00","version":1,"metric":"test_auc","direction":"maximize","then":{"mean":0.805,"error":0.0050000000000000044,"seeds":2},"now":{"mean":0.795,"error":0.0050000000000000044,"seeds":2},"search":false,"data":{"same":false,"rows":[1000,1100],"classes":0.09999999999999998,"shifts":[{"name":"acid","then":10.0,"now":11.0,"by":0.44172610429938625,"missing":[0.01,0.0]}],"compared":1,"gone":[],"new":["sugar"]},"program":["versions.keras was 3.15.0, is 3.16.0"]},{"run":4,"time":"2026-03-03T02:00:07.250001+00:00","version":1,"metric":"test_auc","direction":"maximize","then":{"mean":0.805,"error":0.0050000000000000044,"seeds":2},"now":{"mean":0.785,"error":0.0050000000000000044,"seeds":2},"search":false,"data":{"same":false,"rows":[1000,1200],"classes":0.09999999999999998,"shifts":[{"name":"acid","then":10.0,"now":12.0,"by":0.8834522085987725,"missing":[0.01,0.0]}],"compared":1,"gone":[],"new":["sugar"]},"program":["versions.keras was 3.15.0, is 3.16.0"]}]}', TRUE, 'retired', 'version 3 has taken its place', '2026-03-01 02:02:32.250021', '2026-03-03 02:02:39.500022'),
('wine', 2, 3, 4, '{"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364}', 1, 6, 'runs/000003-wine/trial-0006/attempt-1/output/model', '{"val_auc":0.71,"loss":0.2,"test_auc":0.71}', '{"experiment":"wine","run":3,"dag_run":"scheduled__2026-03-02T01:00:00+00:00","trial":6,"params":{"epochs":3,"lr":0.6214173889,"units":80,"optimizer":"sgd","momentum":0.04630517364},"metrics":{"val_auc":0.71,"loss":0.2,"test_auc":0.71},"image":null,"versions":{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"},"program":{"command":["python","train.py"],"args":[],"image":"","env":{},"fixed":{"epochs":3},"options":"","versions":{"keras":"3.15.0"}},"training":{"data":{"fingerprint":"data of 1100 rows","rows":1100,"classes":{"good":0.4,"bad":0.6},"features":{"acid":{"mean":11.0,"std":2.0,"missing":0.01}}},"versions":{"keras":"3.15.0"}},"scores":{"metric":"test_auc","values":[0.7,0.71]}}', '{"promote":false,"reason":"Not promoted: test_auc is 0.705 for the challenger and 0.795 for the champion, over 2 seeds (maximize). It is worse by 0.09 \u00b1 0. The standard error (\u00b1) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own. The champion was trained otherwise when it was made: versions.keras was 3.15.0, is 3.16.0. Its test_auc was 0.805 then and is 0.795 as trained now, worse by 0.01, which exceeds min_improvement (0.001): the better of the two may be worse than what serves. Train as before, or let people decide (deploy.approval: manual).","improvement":-0.09000000000000008,"error":0.0,"broken":[]}', FALSE, 'rejected', 'Not promoted: test_auc is 0.705 for the challenger and 0.795 for the champion, over 2 seeds (maximize). It is worse by 0.09 ± 0. The standard error (±) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own. The champion was trained otherwise when it was made: versions.keras was 3.15.0, is 3.16.0. Its test_auc was 0.805 then and is 0.795 as trained now, worse by 0.01, which exceeds min_improvement (0.001): the better of the two may be worse than what serves. Train as before, or let people decide (deploy.approval: manual).', '2026-03-02 02:01:48.750015', '2026-03-02 02:02:54.000024'),
('wine', 3, 4, 4, '{"lr":0.00410587358,"units":48,"optimizer":"adam"}', 1, 6, 'runs/000004-wine/trial-0006/attempt-1/output/model', '{"val_auc":0.91,"loss":0.2,"test_auc":0.91}', '{"experiment":"wine","run":4,"dag_run":"scheduled__2026-03-03T01:00:00+00:00","trial":6,"params":{"epochs":3,"lr":0.00410587358,"units":48,"optimizer":"adam"},"metrics":{"val_auc":0.91,"loss":0.2,"test_auc":0.91},"image":null,"versions":{"python":"3.11.9","hpo-lib":"0.9.0","SQLAlchemy":"2.1.9","store":"0123456789ab"},"program":{"command":["python","train.py"],"args":[],"image":"","env":{},"fixed":{"epochs":3},"options":"","versions":{"keras":"3.15.0"}},"training":{"data":{"fingerprint":"data of 1200 rows","rows":1200,"classes":{"good":0.4,"bad":0.6},"features":{"acid":{"mean":12.0,"std":2.0,"missing":0.01}}},"versions":{"keras":"3.15.0"}},"scores":{"metric":"test_auc","values":[0.9,0.91]}}', '{"promote":true,"reason":"Promoted: test_auc is 0.905 for the challenger and 0.785 for the champion, over 2 seeds (maximize). It is better by 0.12 \u00b1 0, which exceeds min_improvement (0.001) and the uncertainty at 95 % confidence (0). The standard error (\u00b1) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own.","improvement":0.12,"error":0.0,"broken":[],"approved":"approved by ada","nights":[{"run":5,"time":"2026-03-04T02:00:07.250001+00:00","version":3,"metric":"test_auc","direction":"maximize","then":{"mean":0.905,"error":0.0050000000000000044,"seeds":2},"now":{"mean":0.88,"error":null,"seeds":1},"search":true,"data":{"same":false,"rows":[1200,1300],"classes":0.09999999999999998,"shifts":[{"name":"acid","then":12.0,"now":13.0,"by":0.44172610429938625,"missing":[0.01,0.0]}],"compared":1,"gone":[],"new":["sugar"]},"program":["versions.keras was 3.15.0, is 3.16.0"]}]}', FALSE, 'champion', 'Promoted: test_auc is 0.905 for the challenger and 0.785 for the champion, over 2 seeds (maximize). It is better by 0.12 ± 0, which exceeds min_improvement (0.001) and the uncertainty at 95 % confidence (0). The standard error (±) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own.', '2026-03-03 02:01:34.250013', '2026-03-03 02:02:46.750023');

INSERT INTO model_events (id, experiment, version, status, reason, time) VALUES
(1, 'wine', 1, 'challenger', 'trial 5 of run 2 is trained for the last time', '2026-03-01 02:02:32.250021'),
(2, 'wine', 1, 'champion', 'Promoted: the challenger''s test_auc is 0.805 over 2 seeds, and there is no champion to compare it with.', '2026-03-01 02:03:08.500026'),
(3, 'wine', 2, 'challenger', 'trial 4 of run 3 is trained for the last time', '2026-03-02 02:01:48.750015'),
(4, 'wine', 2, 'rejected', 'Not promoted: test_auc is 0.705 for the challenger and 0.795 for the champion, over 2 seeds (maximize). It is worse by 0.09 ± 0. The standard error (±) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own. The champion was trained otherwise when it was made: versions.keras was 3.15.0, is 3.16.0. Its test_auc was 0.805 then and is 0.795 as trained now, worse by 0.01, which exceeds min_improvement (0.001): the better of the two may be worse than what serves. Train as before, or let people decide (deploy.approval: manual).', '2026-03-02 02:02:54.000024'),
(5, 'wine', 3, 'challenger', 'trial 4 of run 4 is trained for the last time', '2026-03-03 02:01:34.250013'),
(6, 'wine', 1, 'retired', 'version 3 has taken its place', '2026-03-03 02:02:39.500022'),
(7, 'wine', 3, 'champion', 'Promoted: test_auc is 0.905 for the challenger and 0.785 for the champion, over 2 seeds (maximize). It is better by 0.12 ± 0, which exceeds min_improvement (0.001) and the uncertainty at 95 % confidence (0). The standard error (±) is that of 2 seeds alone: without scores of single examples nothing is known of the hold-out''s own.', '2026-03-03 02:02:46.750023');
