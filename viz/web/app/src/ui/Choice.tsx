import { useId } from 'preact/hooks';

// Choice chooses one of a few: radio buttons in one row.
export function Choice(props: { label: string; options: string[]; value: string; onPick: (value: string) => void }) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend class="unseen">{props.label}</legend>
      {props.options.map((option) => (
        <label key={option}>
          <input type="radio" name={name} value={option} checked={option === props.value}
            onChange={() => props.onPick(option)} />
          <span>{option}</span>
        </label>
      ))}
    </fieldset>
  );
}
