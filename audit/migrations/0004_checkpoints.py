"""Checkpoints, held to be append-only as the log is; and the log without tool calls has an index of its own."""

from typing import Any

from django.db import migrations, models

_SQLITE = [
    f"CREATE TRIGGER checkpoint_no_{verb.lower()} BEFORE {verb} ON audit_checkpoint "
    "BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END"
    for verb in ("UPDATE", "DELETE")
]
_POSTGRESQL = [
    "CREATE TRIGGER checkpoint_no_change BEFORE UPDATE OR DELETE ON audit_checkpoint "
    "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON audit_checkpoint "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
]


def protect(_apps: Any, schema_editor: Any) -> None:
    for statement in {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(schema_editor.connection.vendor, []):
        schema_editor.execute(statement)


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0003_token_versions'),
    ]

    operations = [
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tenant_id', models.UUIDField()),
                ('number', models.PositiveIntegerField()),
                ('from_seq', models.BigIntegerField()),
                ('to_seq', models.BigIntegerField()),
                ('count', models.PositiveIntegerField()),
                ('total', models.BigIntegerField()),
                ('digest', models.CharField(max_length=64)),
                ('previous', models.CharField(max_length=64)),
                ('late', models.TextField(blank=True)),
                ('at', models.DateTimeField()),
                ('key', models.CharField(max_length=64)),
                ('signature', models.CharField(max_length=128)),
            ],
        ),
        migrations.CreateModel(
            name='Gap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first', models.BigIntegerField()),
                ('last', models.BigIntegerField()),
                ('noted_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Verification',
            fields=[
                ('tenant_id', models.UUIDField(primary_key=True, serialize=False)),
                ('asked_at', models.DateTimeField(null=True)),
                ('asked_by', models.UUIDField(null=True)),
                ('busy_until', models.DateTimeField(null=True)),
                ('began_at', models.DateTimeField(null=True)),
                ('reached', models.PositiveIntegerField(default=0)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_to', models.PositiveIntegerField(default=0)),
                ('problem', models.TextField(blank=True)),
            ],
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('kind__in', ['tool.call.intent', 'tool.call.done', 'tool.call.failed']), _negated=True), fields=['tenant_id', '-seq', 'kind', 'at', 'user_id', 'client', 'provider', 'connection_id'], name='audit_not_calls'),
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(fields=['-to_seq'], name='checkpoint_position'),
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(condition=models.Q(('late', ''), _negated=True), fields=['tenant_id'], name='checkpoint_late'),
        ),
        migrations.AddConstraint(
            model_name='checkpoint',
            constraint=models.UniqueConstraint(fields=('tenant_id', 'number'), name='checkpoint_number'),
        ),
        migrations.RunPython(protect, migrations.RunPython.noop),
    ]
