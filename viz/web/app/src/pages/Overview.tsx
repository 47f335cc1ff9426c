import type { NamespaceRow, OverviewPage } from '../api';
import { sourceOf } from '../format';
import { linkTo } from '../link';
import type { PageProps } from '../pages';
import { useStream } from '../stream';
import { goldenColumns } from '../ui/Golden';
import { Name } from '../ui/Name';
import { PageFrame } from '../ui/Page';
import { Problems } from '../ui/Problems';
import { Table, type Column } from '../ui/Table';

export default function Overview({ query }: PageProps) {
  const live = useStream<OverviewPage>('overview', { namespace: query.namespace, window: query.window });
  return (
    <PageFrame title="Overview" live={live}>
      {(page) => {
        const columns: Column<NamespaceRow>[] = [
          { key: 'name', title: 'Namespace', sort: (r) => r.name,
            cell: (r) => <a href={linkTo('/topology', query, { namespace: r.name })}><Name>{r.name}</Name></a> },
          ...goldenColumns<NamespaceRow>((r) => r, (r) => sourceOf(`ns/${r.name}`, '', page.window)),
        ];
        return (
          <>
            <Problems problems={page.problems} />
            <Table caption="Namespaces" columns={columns} rows={page.namespaces} rowKey={(r) => r.name} />
          </>
        );
      }}
    </PageFrame>
  );
}
