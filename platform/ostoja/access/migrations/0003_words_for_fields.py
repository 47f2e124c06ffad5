import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0002_tokens_and_guards'),
    ]

    operations = [
        migrations.AlterField(
            model_name='savedview',
            name='object',
            field=models.CharField(max_length=80, verbose_name='object'),
        ),
        migrations.AlterField(
            model_name='savedview',
            name='query',
            field=models.JSONField(default=dict, verbose_name='what it shows'),
        ),
        migrations.AlterField(
            model_name='savedview',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='views', to='access.user', verbose_name='user'),
        ),
        migrations.AlterField(
            model_name='user',
            name='email_confirmed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name='e-mail confirmed'),
        ),
        migrations.AlterField(
            model_name='userrole',
            name='role',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='holders', to='access.role', verbose_name='role'),
        ),
        migrations.AlterField(
            model_name='userrole',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='held_roles', to='access.user', verbose_name='user'),
        ),
    ]
