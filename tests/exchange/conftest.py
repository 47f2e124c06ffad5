"""What the tests of exchange share: imports that run to their end in the test's own process, and a company to sell for."""

import pytest


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Jobs are executed by the tests, not sent to a broker."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


def work_off(run):
    """Execute the run's job in the open tenant and return the run as it is then."""
    from ostoja.jobs import runner
    from ostoja.tenancy.context import current_tenant

    run.refresh_from_db()
    assert runner.execute(current_tenant(), run.job_id)
    run.refresh_from_db()
    return run


@pytest.fixture(scope="session")
def work():
    """``work(run)`` executes the run's job and returns the run as it is then."""
    return work_off


@pytest.fixture
def bring(tenant, actor, work):
    """``bring("departments", csv_text, columns=…, …)`` imports to the end and returns the run."""
    from ostoja.exchange import runs

    def go(label, content, *, by=None, check=False, whole=False, options=None, file="file.csv", **mapping):
        data = content if isinstance(content, bytes) else content.encode()
        by = by or actor
        run = runs.start(
            by, label, data, file, mapping={"version": 1, **mapping} if mapping else None, options=options, whole=whole
        )
        return work(runs.check(by, run) if check else runs.go(by, run))

    return go


@pytest.fixture
def errors():
    """``errors(run)`` -> [(row, column, message)]"""
    from ostoja.exchange import runs

    return lambda run: [(e.row, e.column, e.message) for e in runs.errors(run)]


@pytest.fixture
def rows():
    """``rows("sales.deal")`` -> the records."""
    from ostoja.kernel import registry

    return lambda label: registry.get(label).model._default_manager.all()


@pytest.fixture
def stages(tenant, bring):
    """A pipeline with four stages."""
    text = "pipeline,position,name,kind,probability\nSales,1,New,open,10\nSales,2,Talks,open,50\nSales,3,Won,won,100\nSales,4,Lost,lost,0\n"
    columns = [{"from": n, "to": n} for n in ("position", "name", "kind", "probability")]
    run = bring("sales.stage", text, columns=[{"from": "pipeline", "to": "pipeline", "create": True}, *columns])
    assert (run.state, run.created, run.failed) == ("done", 4, 0)
