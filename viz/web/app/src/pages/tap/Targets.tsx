import type { TapPage, TapTarget } from '../../api';
import { count, plural } from '../../format';
import { kindName } from '../../kinds';
import { linkTo, resourceOf } from '../../link';
import { quote } from '../../quote';
import { useStream } from '../../stream';
import { Command } from '../../ui/Command';
import { Empty } from '../../ui/Empty';
import { Icon } from '../../ui/Icon';
import { Name } from '../../ui/Name';
import { PageFrame } from '../../ui/Page';
import { SearchField } from '../../ui/SearchField';
import { Table, type Column } from '../../ui/Table';
import type { Params } from './query';

type Change = (changes: Record<string, string | null>) => void;

// Targets is what a viewer can choose to watch: namespaces, or the workloads of one.
export function Targets({ params, change }: { params: Params; change: Change }) {
  const namespace = params.namespace ?? '';
  const live = useStream<TapPage>('tap', { namespace });
  return (
    <PageFrame
      title="Tap"
      live={live}
      sub={
        namespace === ''
          ? 'Watch requests while they happen: choose a namespace'
          : 'Watch requests while they happen: choose what to watch'
      }
      actions={
        namespace !== '' && (
          <a class="button primary" href={watch(params, `ns/${namespace}`, namespace)}>
            <Icon name="play" /> Watch the whole namespace
          </a>
        )
      }
    >
      {(page) => <Choices page={page} params={params} change={change} />}
    </PageFrame>
  );
}

function watch(params: Params, resource: string, namespace: string): string {
  return linkTo('/tap', {}, { namespace, resource, search: null, window: params.window ?? null });
}

function Choices({ page, params, change }: { page: TapPage; params: Params; change: Change }) {
  const namespace = params.namespace ?? '';
  const text = params.search ?? '';
  const what = namespace === '' ? 'namespace' : 'workload';
  if (page.targets.every((t) => t.watchable === 0)) return <Nothing namespace={namespace} targets={page.targets} />;
  const link = (t: TapTarget) =>
    t.kind === 'namespace' ? linkTo('/tap', {}, { namespace: t.name }) : watch(params, resourceOf(t), t.namespace);
  const columns: Column<TapTarget>[] = [
    {
      key: 'name',
      title: namespace === '' ? 'Namespace' : 'Workload',
      sort: (t) => t.name,
      cell: (t) =>
        t.watchable > 0 ? (
          <a href={link(t)}>
            <Name most={40}>{t.name}</Name>
          </a>
        ) : (
          <Name most={40}>{t.name}</Name>
        ),
    },
  ];
  if (namespace !== '')
    columns.push({ key: 'kind', title: 'Kind', sort: (t) => t.kind, cell: (t) => <span class="soft">{kindName(t.kind)}</span> });
  columns.push(
    {
      key: 'pods',
      title: 'Pods with tap',
      numeric: true,
      help: 'Pods whose proxy tap can watch, of all that have not ended',
      sort: (t) => -t.watchable,
      cell: (t) => (
        <span
          class={t.watchable === 0 ? 'number faint' : 'number'}
          title={`tulle viz list -n ${t.namespace || t.name}`}
        >
          {count(t.watchable)}
          <small>/{count(t.pods)}</small>
        </span>
      ),
    },
    {
      key: 'watch',
      title: 'Requests',
      cell: (t) =>
        t.watchable === 0 ? (
          <span class="faint">none to watch</span>
        ) : (
          <a href={link(t)}>{t.kind === 'namespace' ? 'Choose' : 'Watch'}</a>
        ),
    },
  );
  return (
    <section aria-labelledby="targets">
      <div class="section-head">
        <h2 id="targets">{namespace === '' ? 'Namespaces' : 'Workloads'}</h2>
        <SearchField label={`Search ${what}s`} value={text} onInput={(search) => change({ search })} />
      </div>
      <Table
        id="targets"
        caption={`The ${what}s that can be watched`}
        columns={columns}
        rows={page.targets.filter((t) => t.name.includes(text))}
        rowKey={(t) => `${t.kind}/${t.namespace}/${t.name}`}
        empty={
          <Empty icon="search" title={`No ${what} has this text in its name`}>
            <p>
              <button type="button" class="button" onClick={() => change({ search: null })}>
                Clear the search
              </button>
            </p>
          </Empty>
        }
      />
    </section>
  );
}

// Nothing says why no pod can be watched, and what to do.
function Nothing({ namespace, targets }: { namespace: string; targets: TapTarget[] }) {
  const name = namespace ? quote(namespace) : 'NAMESPACE';
  const pods = targets.reduce((sum, t) => sum + t.pods, 0);
  if (pods === 0) {
    return (
      <Empty icon="search" title={namespace ? 'No pods run in this namespace' : 'No pods to watch'}>
        <p>Choose {namespace ? 'another' : 'a'} namespace above.</p>
      </Empty>
    );
  }
  return (
    <Empty icon="unlocked" title={`Tap can watch none of the ${plural(pods, 'pod')}`}>
      <p>
        A pod needs a proxy that was injected after the viz extension was installed. This says which pods lack what:
      </p>
      <Command>{`tulle viz list -n ${name}`}</Command>
      <p>A restart gives pods a proxy with tap:</p>
      <Command>{`kubectl rollout restart deploy,sts,ds -n ${name}`}</Command>
    </Empty>
  );
}
