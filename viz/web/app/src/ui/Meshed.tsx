// Meshed is how many pods have a proxy, as a number and as a bar.
export function Meshed(props: { meshed: number; pods: number; title?: string }) {
  const { meshed, pods } = props;
  if (pods === 0) return <span class="faint" title={props.title}>no pods</span>;
  return (
    <span class="meshed" title={props.title}>
      <progress value={meshed} max={pods} class={meshed < pods && meshed > 0 ? 'part' : undefined} aria-hidden="true" />
      <span>{meshed}<small>/{pods}</small></span>
    </span>
  );
}
