import type { ComponentChildren } from 'preact';
import type { HistoryPage, Ref } from '../../api';
import { last, latency, percent, rate, sentence } from '../../format';
import { useHistory, type Past } from '../../history';
import { usePageQuery } from '../../link';
import { Chart } from '../../ui/Chart';
import { Choice } from '../../ui/Choice';
import { Text } from '../../ui/Command';
import { Icon } from '../../ui/Icon';
import { Section } from '../../ui/Section';
import { Sparkline } from '../../ui/Sparkline';
import { toneOf } from '../../ui/Golden';
import { lastOf, leastOf } from './past';

export const spans = ['10m', '1h', '6h'];
export const defaultSpan = '1h';

// Spark is the line of the last 10 minutes below a figure; nothing if the history is not known.
export function Spark(props: { past: Past; of: 'success' | 'rps' | 'p50' | 'p95' | 'p99' }) {
  const { page } = props.past;
  if (!page || page.missing !== '' || page.times.length < 2) return null;
  const values = page[props.of];
  const last = lastOf(values);
  if (last === null) return null;
  const write = { success: percent, rps: (v: number) => `${rate(v)} rps`, p50: latency, p95: latency, p99: latency }[props.of];
  const word = { success: 'Success', rps: 'Rate', p50: 'p50', p95: 'p95', p99: 'p99' }[props.of];
  const tone = props.of === 'success' ? toneOf(last) : 'accent';
  return <Sparkline values={values} most={props.of === 'success' ? 1 : undefined}
    least={props.of === 'success' ? leastOf(values) : undefined} label={`${word} in the last 10 minutes, now ${write(last)}`}
    tone={tone === 'warning' || tone === 'error' ? tone : 'accent'} />;
}

// History has the charts of an object.
export function History({ of }: { of: Ref }) {
  const [query, change] = usePageQuery();
  const span = spans.includes(query.span ?? '') ? query.span! : defaultSpan;
  const { page, refusal } = useHistory(of, span);
  const missing = refusal ? refusal.message : page?.missing;
  return (
    <Section title="History" sub={page && !missing ? 'From Prometheus' : undefined}
      actions={<Choice label="Span of the charts" options={spans} value={span} onPick={(s) => change({ span: s === defaultSpan ? null : s })} />}>
      {missing ? <Missing text={missing} remedy={refusal?.remedy ?? page?.remedy ?? ''} />
        : page ? <Charts page={page} /> : <div class="charts"><Frame /><Frame /><Frame /></div>}
    </Section>
  );
}

function Frame(props: { children?: ComponentChildren }) {
  return <div class="card chart-card">{props.children ?? <div class="chart-wait" role="status"><span class="faint">Reading the history…</span></div>}</div>;
}

function Charts({ page }: { page: HistoryPage }) {
  const { times, command } = page;
  const success = toneOf(lastOf(page.success));
  const known = page.rps.some((v) => v !== null);
  if (!known) {
    return <Missing text={`Prometheus has no numbers of proxies in the last ${last(page.span)}`} remedy="It scrapes the proxies every 10 seconds. `tulle viz check` says more." />;
  }
  return (
    <div class="charts">
      <Frame>
        <Chart title="Success" source={command} times={times} least={leastOf(page.success)} most={1} write={percent}
          lines={[{ label: 'success', tone: success === 'neutral' ? 'soft' : success, values: page.success }]} />
      </Frame>
      <Frame>
        <Chart title="Rate" source={command} times={times} write={(v) => `${rate(v)} rps`} lines={[{ label: 'requests', tone: 'accent', values: page.rps }]} />
      </Frame>
      <Frame>
        <Chart title="Latency" source={command.replace('response_total', 'response_latency_ms_bucket').replace('classification', 'le')} times={times} write={latency}
          lines={[{ label: 'p50', tone: 'soft', values: page.p50, dashed: true }, { label: 'p95', tone: 'accent', values: page.p95, dashed: true },
            { label: 'p99', tone: 'accent', values: page.p99 }]} />
      </Frame>
    </div>
  );
}

// Missing says in words why there is no chart.
function Missing(props: { text: string; remedy: string }) {
  return (
    <div class="card missing">
      <Icon name="clock" />
      <div>
        <p>{sentence(`There is no chart: ${props.text}`)}</p>
        {props.remedy && <p class="faint"><Text>{props.remedy}</Text></p>}
      </div>
    </div>
  );
}
