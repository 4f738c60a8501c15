{{ config(severity='warn', enabled=target.type == 'duckdb', tags=['lake']) }}

-- The lake job writes messages that cannot become a row to these files, with their offsets and the reason.
select file from glob('{{ env_var("STREAMFLOW_LAKE_PATH", "") }}/rejected_decisions/*/part-*')
