"""Exchange: import and export of every object in the registry, as CSV and XLSX.

For web, API and command line (every function takes the actor, asks the policy and raises ``OstojaError`` with advice):

Import: ``from ostoja.exchange import runs``

- ``runs.start(actor, label, content: bytes, file_name, mapping=None, options=None, mode="", whole=False) -> ImportRun``
  takes a file in, guesses the mapping unless given. ``label`` is ``sales.deal`` or the slug ``deals``.
- ``runs.columns(actor, run) -> [ColumnView(name, samples, to, by, ways)]``, ``runs.targets_for(actor, label) -> [Target]``
  (``path``, ``label``, ``kind``, ``required``), ``runs.missing_fields(actor, run) -> [label]``.
- ``runs.remap(actor, run, mapping=…, options=…, mode=…, whole=…, name=…) -> ImportRun``; the mapping's form is in ``mapping.py``.
- ``runs.unknown_values(actor, run) -> [UnknownColumn(name, to, target, values, choices)]``: dirty values and proposals; answers go
  into the column's ``values`` by ``remap``.
- ``runs.preview(actor, run) -> Preview(columns, rows)``: the first 20 records as they would be.
- ``runs.check(actor, run)``: dry run as a job; then state ``checked``, counts, ``runs.errors(run)`` (row, column, value, message),
  ``runs.errors_file(actor, run) -> bytes`` (CSV of the refused rows with reasons).
- ``runs.go(actor, run)``: the import as a job; ``run.job`` has ``done``, ``total``, ``percent``, ``message``. ``runs.stop``, ``runs.undo``
  (afterwards ``run.result["undo"]``: deleted, restored, kept_count, kept).
- ``runs.save_mapping(actor, run, name)``, ``runs.template_file(actor, label) -> bytes``, ``runs.runs(actor, label)``.
- The same through the gate: verbs ``dry_run``, ``run``, ``stop``, ``undo``, ``reopen`` of ``exchange.importrun``.

Export: ``from ostoja.exchange import export``

- ``export.export(actor, label, query={}, format="csv", columns=None) -> ExportRun`` (a job); ``export.open_export(actor, id)
  -> (file, name, media type)`` for 24 hours, for the requester only; ``export.write(out, …)`` for small lists at once.
- ``selecting.use_selection(fn)``: the room that answers lists registers how it reads a query.
"""
