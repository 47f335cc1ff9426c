import { Icon } from '../../ui/Icon';

// Legend says what the lines and signs of the picture mean.
export function Legend() {
  return (
    <details class="legend">
      <summary>Legend</summary>
      <ul>
        <li><Line /> <span>mutual TLS; the wider, the more requests</span></li>
        <li><Line dashed /> <span><Icon name="unlocked" /> plaintext</span></li>
        <li><Line dotted /> <span><Icon name="external" /> leaves the cluster</span></li>
        <li><span class="sign warning"><Icon name="warning" /></span> <span>success below 99%</span></li>
        <li><span class="sign error"><Icon name="error" /></span> <span>success below 95%</span></li>
        <li><span class="sign"><Icon name="unlocked" /></span> <span>no proxy: not in the mesh</span></li>
        <li><span class="sign faint"><Line faint /></span> <span>no traffic in the time window</span></li>
      </ul>
    </details>
  );
}

function Line(props: { dashed?: boolean; dotted?: boolean; faint?: boolean }) {
  const kind = props.dashed ? 'plaintext' : props.dotted ? 'external' : props.faint ? 'idle' : 'mtls';
  return <svg class={`sample edge ${kind}`} viewBox="0 0 32 8" aria-hidden="true"><path class="line" d="M0 4H32" stroke-width="2" /></svg>;
}
